import type { Request } from 'express';
import { KilnError } from '../model/error.ts';

/** The Idempotency-Key of a request, quoted as its draft has it or bare as many send it. @throws KilnError PARAM_INVALID */
export function readIdempotencyKey({ headers }: Request): string | undefined {
  const given = headers['idempotency-key'];
  if (given === undefined) return undefined;
  const [, quoted, bare] = /^(?:"([!#-~ ]{1,255})"|([!#-~]{1,255}))$/.exec(String(given)) ?? [];
  const key = quoted ?? bare;
  if (key !== undefined) return key;
  const message = 'The Idempotency-Key must be 1 to 255 printable ASCII characters, such as a UUID.';
  throw new KilnError('PARAM_INVALID', message, { details: { field: 'Idempotency-Key' } });
}
