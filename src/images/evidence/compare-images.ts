import type { KeyObject } from 'node:crypto';
import { compareRebuilds, describeDifference, type Made } from '../../evidence/compare-rebuilds.ts';
import { isFile } from '../../evidence/provenance.ts';
import { readEnvelope, readStatement, type Statement } from '../../evidence/verify-evidence.ts';
import { KilnError } from '../../model/error.ts';

/**
 * In what a rebuild differs from another of the same entry, and why, a line each; both are told of by their evidence.
 * @param before Folder of the other one's VM image.
 */
export async function compareImages(
  { before, now }: { before: string; now: string },
  publicKey: KeyObject,
): Promise<readonly string[]> {
  const [earlier, later] = [await readIfTold(before, publicKey), await readIfTold(now, publicKey)];
  if (!earlier || !later) return ['nothing is told of the image that serves now: not compared'];
  if (inputsOf(earlier) !== inputsOf(later))
    return ['the image that serves now was made from other pins, or by another recipe: not compared'];
  const differences = compareRebuilds(madeIn(earlier), madeIn(later));
  if (differences.length === 0) return ['the same as the image that serves now'];
  return differences.map(describeDifference);
}

/** Null where there is none, or where it is not of this installation. */
async function readIfTold(directory: string, publicKey: KeyObject): Promise<Statement | null> {
  try {
    return readStatement(await readEnvelope(directory), publicKey);
  } catch (error) {
    if (KilnError.from(error).code === 'EVIDENCE_INVALID') return null;
    throw error;
  }
}

function inputsOf({ predicate }: Statement): string {
  return JSON.stringify(predicate.buildDefinition.resolvedDependencies);
}

function madeIn({ subject, predicate }: Statement): Made {
  const subjects = subject.map((one) => [isFile(one) ? one.name : imageName(one.name), one.digest.sha256]);
  const byproducts = predicate.runDetails.byproducts.map(({ name, digest }) => [name, digest.sha256]);
  return Object.fromEntries([...subjects, ...byproducts]);
}

/** Without entry and version, by which two rebuilds always differ. */
function imageName(versionTag: string): string {
  return versionTag.startsWith('ctr_') ? 'ctr image' : 'dqd image';
}
