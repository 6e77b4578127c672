import type { KeyObject } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { z } from 'zod';
import { hashFile } from '../lib/hash.ts';
import { printable } from '../lib/text.ts';
import { KilnError } from '../model/error.ts';
import { inTotoPayloadType, openEnvelope } from './dsse.ts';
import { isFile, statementType } from './provenance.ts';

/** The files of the evidence that lies beside an image. */
export const sbomName = 'sbom.spdx.json';
export const provenanceName = 'provenance.dsse.json';

const namedSchema = z.object({ name: z.string(), digest: z.object({ sha256: z.string() }) });
const statementSchema = z.looseObject({
  _type: z.literal(statementType),
  subject: z.array(namedSchema.extend({ uri: z.string().optional() })),
  predicate: z.looseObject({
    buildDefinition: z.looseObject({ resolvedDependencies: z.array(z.unknown()) }),
    runDetails: z.looseObject({
      metadata: z.looseObject({ finishedOn: z.string() }),
      byproducts: z.array(namedSchema).default([]),
    }),
  }),
});
export type Statement = z.infer<typeof statementSchema>;

/**
 * Whether the files of a folder are those that its evidence tells of, and whether that is signed by this key.
 * @returns what is told of them
 * @throws KilnError EVIDENCE_INVALID naming what is not; the signal's reason on abort
 */
export async function verifyEvidence(
  directory: string,
  publicKey: KeyObject,
  signal: AbortSignal,
): Promise<Statement> {
  const statement = readStatement(await readEnvelope(directory), publicKey);
  for (const { name, digest } of statement.subject.filter(isFile)) {
    if (basename(name) !== name)
      throw invalid(`It tells of a file '${printable(name)}', which lies elsewhere.`);
    const sha256 = await hashFile(join(directory, name), signal).catch((error: unknown) => {
      signal.throwIfAborted();
      throw invalid(`${name} cannot be read.`, error);
    });
    if (sha256 !== digest.sha256) throw invalid(`${name} is not what it was made as.`);
  }
  return statement;
}

/** What a signed envelope says of how an image was made. @throws KilnError EVIDENCE_INVALID */
export function readStatement(envelope: string, publicKey: KeyObject): Statement {
  const payload = openEnvelope(envelope, { payloadType: inTotoPayloadType, publicKey });
  try {
    return statementSchema.parse(JSON.parse(payload.toString('utf8')));
  } catch (cause) {
    throw invalid('It holds no statement that is known here.', cause);
  }
}

/** Of the folder that it lies in. @throws KilnError EVIDENCE_INVALID, also where there is none */
export async function readEnvelope(directory: string): Promise<string> {
  return readFile(join(directory, provenanceName), 'utf8').catch((cause: unknown) => {
    throw invalid(`There is no ${provenanceName} beside the image.`, cause);
  });
}

function invalid(message: string, cause?: unknown): KilnError {
  return new KilnError('EVIDENCE_INVALID', `The evidence does not hold. ${message}`, { cause });
}
