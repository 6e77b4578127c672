import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { z } from 'zod';
import { defaultTenant, roles } from '../model/caller.ts';

/**
 * A token is `kiln_<id>_<secret>`. The id finds what is kept of it and is no secret; the secret is 256 random bits and is kept nowhere
 * but with whoever was given the token.
 */

const secretBytes = 32;
const tokenId = /^[0-9a-f]{12}$/;
const tokenText = /^kiln_([0-9a-f]{12})_([A-Za-z0-9_-]{43})$/;
const tenantName = /^[a-z0-9][a-z0-9-]{0,62}$/;

/** What may be chosen of a token. */
export const tokenRequest = z.strictObject({
  role: z.enum(roles, `must be ${roles.join(', ')}`),
  tenant: z
    .string()
    .regex(tenantName, 'must be at most 63 lower-case letters, digits and hyphens')
    .default(defaultTenant),
  name: z
    .string()
    .regex(/^[^\p{C}]{0,100}$/u, 'must be at most 100 characters that can be printed')
    .default(''),
});
export type TokenRequest = z.output<typeof tokenRequest>;

/** What is kept of a token, as its file has it. */
export const keptToken = tokenRequest.extend({
  id: z.string().regex(tokenId),
  /** RFC 3339. */
  created: z.iso.datetime(),
  /** SHA-256 of the secret's text, in hex. */
  secretHash: z.string().regex(/^[0-9a-f]{64}$/),
});
export type KeptToken = z.output<typeof keptToken>;

/** A new token: what is kept of it, and its text, which nobody can make again. */
export function makeToken(request: TokenRequest): { kept: KeptToken; text: string } {
  const id = randomBytes(6).toString('hex');
  const secret = randomBytes(secretBytes).toString('base64url');
  const created = new Date().toISOString();
  return {
    kept: { ...request, id, created, secretHash: hashSecret(secret).toString('hex') },
    text: `kiln_${id}_${secret}`,
  };
}

/** Null for what cannot be the text of a token. */
export function parseToken(text: string): { readonly id: string; readonly secret: string } | null {
  const [, id, secret] = tokenText.exec(text) ?? [];
  return id === undefined || secret === undefined ? null : { id, secret };
}

export function isTokenId(text: string): boolean {
  return tokenId.test(text);
}

/** In a time that says nothing of how much of it is right. */
export function isSecretOf({ secretHash }: KeptToken, secret: string): boolean {
  return timingSafeEqual(hashSecret(secret), Buffer.from(secretHash, 'hex'));
}

/**
 * One round of SHA-256 is right here: slow and salted hashes make up for passwords that can be guessed, and nobody guesses 256 random
 * bits. A slow one would only let strangers keep the service busy.
 */
function hashSecret(secret: string): Buffer {
  return createHash('sha256').update(secret).digest();
}
