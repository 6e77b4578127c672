import { type KeyObject, sign, verify } from 'node:crypto';
import { z } from 'zod';
import { KilnError } from '../model/error.ts';
import type { SigningKey } from './signing-key.ts';

/** A payload with its signature (https://github.com/secure-systems-lab/dsse). */
export type Envelope = z.infer<typeof envelopeSchema>;

const envelopeSchema = z.object({
  payloadType: z.string(),
  payload: z.base64(),
  signatures: z.array(z.object({ keyid: z.string(), sig: z.base64() })).min(1),
});

export const envelopeMediaType = 'application/vnd.dsse.envelope.v1+json';
export const inTotoPayloadType = 'application/vnd.in-toto+json';

export function signEnvelope(payload: Buffer, payloadType: string, { privateKey, id }: SigningKey): Envelope {
  const sig = sign(null, encode(payloadType, payload), privateKey).toString('base64');
  return {
    payloadType,
    payload: payload.toString('base64'),
    signatures: [{ keyid: id, sig }],
  };
}

/**
 * The payload of an envelope that this key has signed.
 * @param text The envelope as JSON.
 * @throws KilnError EVIDENCE_INVALID
 */
export function openEnvelope(
  text: string,
  { payloadType, publicKey }: { payloadType: string; publicKey: KeyObject },
): Buffer {
  const envelope = parseEnvelope(text);
  const payload = Buffer.from(envelope.payload, 'base64');
  const signed = encode(envelope.payloadType, payload);
  const isOurs = envelope.signatures.some(({ sig }) =>
    verify(null, signed, publicKey, Buffer.from(sig, 'base64')),
  );
  if (!isOurs)
    throw new KilnError('EVIDENCE_INVALID', 'The envelope is not signed by this key, or was changed since.');
  if (envelope.payloadType !== payloadType)
    throw new KilnError('EVIDENCE_INVALID', `The envelope holds no ${payloadType}.`);
  return payload;
}

function parseEnvelope(text: string): Envelope {
  try {
    return envelopeSchema.parse(JSON.parse(text));
  } catch (cause) {
    throw new KilnError('EVIDENCE_INVALID', 'This is no DSSE envelope.', { cause });
  }
}

/** DSSE's pre-authentication encoding: what is signed. */
function encode(payloadType: string, payload: Buffer): Buffer {
  const head = `DSSEv1 ${Buffer.byteLength(payloadType)} ${payloadType} ${payload.length} `;
  return Buffer.concat([Buffer.from(head), payload]);
}
