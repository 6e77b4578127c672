import { join } from 'node:path';
import type { Entry } from '../../catalog/catalog.ts';
import { parseDpkgStatus } from '../../evidence/debian-packages.ts';
import { inTotoPayloadType, signEnvelope } from '../../evidence/dsse.ts';
import { readGoModules } from '../../evidence/go-modules.ts';
import { readLayers, readLayoutFile } from '../../evidence/layout-file.ts';
import { type Byproduct, createProvenance, type Subject } from '../../evidence/provenance.ts';
import type { SigningKey } from '../../evidence/signing-key.ts';
import { createSbom } from '../../evidence/spdx.ts';
import { provenanceName, sbomName, verifyEvidence } from '../../evidence/verify-evidence.ts';
import { replaceFile } from '../../lib/files.ts';
import { hashFile } from '../../lib/hash.ts';
import { KilnError } from '../../model/error.ts';
import type { LayoutImage } from '../../registry/registry.ts';
import { type PublishedKind, versionTagOf } from '../publish/tags.ts';
import { pinnedModules, resolveDependencies } from './dependencies.ts';
import { programs } from './programs-inside.ts';

/** What a rebuild made, and of what. */
export type EvidenceRequest = {
  readonly entry: Entry;
  /** Such as `v0.1.0`. */
  readonly version: string;
  /** The folder of the VM image: its files are told of, and the evidence is written beside them. */
  readonly directory: string;
  /** Its files, such as `kernel`. */
  readonly files: readonly string[];
  /** As os-release names it: `versions.distribution` of the VM image. */
  readonly distribution: string;
  /** What is in the VM image is read out of it. */
  readonly ctr: LayoutImage;
  /** Digest of the dqd image's manifest; null where none was made. */
  readonly dqd: string | null;
  /** Of `ensureBinaries`: its `out` has buildkitd, buildctl and runc. */
  readonly binaries: string;
  /** What it is made of besides pins and recipe, as `CtrImage` has it. */
  readonly materials: Readonly<Record<string, string>>;
  readonly imagesDirectory: string;
  /** What was asked for: targets, arguments, sources. */
  readonly parameters: Readonly<Record<string, unknown>>;
  readonly installation: string;
  /** Times in RFC 3339. */
  readonly operation: { readonly id: string; readonly started: string; readonly ended: string };
  readonly key: SigningKey;
};

const statusFile = 'var/lib/dpkg/status';
const maxStatusBytes = 32 * 1024 * 1024;

/**
 * The evidence of an image: what is there and holds for the same images stays, as what was published refers to it; else it is written.
 * @returns when the images were made, in RFC 3339, as the evidence says
 * @throws as `writeEvidence`
 */
export async function ensureEvidence(
  request: EvidenceRequest,
  signal: AbortSignal,
): Promise<{ readonly created: string }> {
  const there = await readCreated(request, signal);
  if (there !== null) return { created: there };
  await writeEvidence(request, signal);
  return { created: request.operation.ended };
}

async function readCreated(request: EvidenceRequest, signal: AbortSignal): Promise<string | null> {
  try {
    const { subject, predicate } = await verifyEvidence(request.directory, request.key.publicKey, signal);
    const told = new Map(subject.map(({ name, digest }) => [name, digest.sha256]));
    const same = imagesOf(request).every(({ name, sha256 }) => told.get(name) === sha256);
    return same ? predicate.runDetails.metadata.finishedOn : null;
  } catch (error) {
    signal.throwIfAborted();
    if (KilnError.from(error).code !== 'EVIDENCE_INVALID') throw error;
    return null;
  }
}

/**
 * Writes beside a VM image what is in it (an SBOM) and, signed, how it was made: by what, of what, and the sha256 of each file and image.
 * The same request writes the same bytes.
 * @throws KilnError INFRA where the ctr image is not what it should be; the signal's reason on abort
 */
export async function writeEvidence(request: EvidenceRequest, signal: AbortSignal): Promise<void> {
  const { entry, version, directory, operation, installation, key } = request;
  const sbom = await describeContents(request, signal);
  await replaceFile(join(directory, sbomName), `${JSON.stringify(sbom, null, 1)}\n`);
  const files = [...request.files, sbomName].map(async (name): Promise<Subject> => {
    return { name, sha256: await hashFile(join(directory, name), signal), kind: 'file' };
  });
  const statement = createProvenance({
    subjects: [...(await Promise.all(files)), ...imagesOf(request)],
    byproducts: await byproductsOf(request, signal),
    parameters: { entry: entry.name, version, ...request.parameters },
    dependencies: await resolveDependencies(entry, {
      imagesDirectory: request.imagesDirectory,
      materials: request.materials,
    }),
    ...{ installation, operation: operation.id, started: operation.started, ended: operation.ended },
  });
  const envelope = signEnvelope(Buffer.from(JSON.stringify(statement)), inTotoPayloadType, key);
  await replaceFile(join(directory, provenanceName), `${JSON.stringify(envelope)}\n`);
}

function imagesOf({ entry, version, ctr, dqd }: EvidenceRequest): Subject[] {
  const image = (kind: PublishedKind, digest: string): Subject => ({
    name: versionTagOf(kind, entry.name, version),
    sha256: digest.replace('sha256:', ''),
    kind: 'image',
  });
  return [image('ctr', ctr.digest), ...(dqd === null ? [] : [image('dqd', dqd)])];
}

/** What two rebuilds of the same pins should have in common, by the names that `compareRebuilds` knows. */
async function byproductsOf(
  { binaries, ctr }: EvidenceRequest,
  signal: AbortSignal,
): Promise<readonly Byproduct[]> {
  const built = programs.map(async (name) => {
    return { name: `binary ${name}`, sha256: await hashFile(join(binaries, 'out', name), signal) };
  });
  const layers = (await readLayers(ctr)).map(({ digest }, index) => {
    return { name: `ctr layer ${index + 1}`, sha256: digest.replace('sha256:', '') };
  });
  return [...(await Promise.all(built)), ...layers];
}

async function describeContents(
  { entry, version, ctr, distribution, binaries, operation, installation }: EvidenceRequest,
  signal: AbortSignal,
): Promise<object> {
  const status = await readLayoutFile(ctr, { name: statusFile, maxBytes: maxStatusBytes }, signal);
  if (!status)
    throw new KilnError('INFRA', `The ctr image of ${entry.name} has no ${statusFile}: it is no Debian.`);
  const built = programs.map((name) => join(binaries, 'out', name));
  return createSbom({
    name: versionTagOf('ctr', entry.name, version),
    namespace: `urn:kiln:sbom:${installation}:${operation.id}`,
    created: toSeconds(operation.ended),
    imageDigest: ctr.digest,
    distribution,
    packages: parseDpkgStatus(status.toString('utf8')),
    programs: pinnedModules(entry),
    modules: await readGoModules(built, signal),
  });
}

/** SPDX 2.3 knows no parts of seconds. */
function toSeconds(time: string): string {
  return `${new Date(time).toISOString().slice(0, 'YYYY-MM-DDTHH:MM:SS'.length)}Z`;
}
