import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { z } from 'zod';
import { defaultTenant, roles } from '../model/caller.ts';

/**
 * A token is `kiln_<id>_<secret>`. The id finds what is kept of it and is no secret; the secret is 256 random bits and is kept nowhere
 * but with whoever was given the token.
 */

const secretBytes = 32;
const dayMs = 24 * 3600 * 1000;
const tokenId = /^[0-9a-f]{12}$/;
const tokenText = /^kiln_([0-9a-f]{12})_([A-Za-z0-9_-]{43})$/;
const tenantName = /^[a-z0-9][a-z0-9-]{0,62}$/;

/** What may be chosen of a token. */
export const tokenRequest = z.strictObject({
  role: z.enum(roles, `must be one of ${roles.join(', ')}`),
  tenant: z
    .string()
    .regex(tenantName, 'must be at most 63 lower-case letters, digits and hyphens')
    .default(defaultTenant),
  name: z
    .string()
    .regex(/^[^\p{C}]{0,100}$/u, 'must be at most 100 characters that can be printed')
    .default(''),
  /** How long it lets in; null for until it is revoked. */
  days: z
    .string()
    .regex(/^[1-9]\d{0,3}$/, 'must be a number from 1 to 9999')
    .transform(Number)
    .nullable()
    .default(null),
});
export type TokenRequest = z.output<typeof tokenRequest>;

/** What is kept of a token, as its file has it. */
export const keptToken = tokenRequest.omit({ days: true }).extend({
  id: z.string().regex(tokenId),
  /** RFC 3339. */
  created: z.iso.datetime(),
  /** RFC 3339; null where it does not expire. */
  expires: z.iso.datetime().nullable().default(null),
  /** SHA-256 of the secret's text, in hex. */
  secretHash: z.string().regex(/^[0-9a-f]{64}$/),
});
export type KeptToken = z.output<typeof keptToken>;

/** A new token: what is kept of it, and its text, which nobody can make again. */
export function makeToken({ days, ...request }: TokenRequest): { kept: KeptToken; text: string } {
  const id = randomBytes(6).toString('hex');
  const secret = randomBytes(secretBytes).toString('base64url');
  const now = new Date();
  const created = now.toISOString();
  const expires = days === null ? null : new Date(now.getTime() + days * dayMs).toISOString();
  return {
    kept: { ...request, id, created, expires, secretHash: hashSecret(secret).toString('hex') },
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

export function isExpired({ expires }: KeptToken): boolean {
  return expires !== null && Date.parse(expires) <= Date.now();
}

/**
 * One round of SHA-256 is right here: slow and salted hashes make up for passwords that can be guessed, and nobody guesses 256 random
 * bits. A slow one would only let strangers keep the service busy.
 */
function hashSecret(secret: string): Buffer {
  return createHash('sha256').update(secret).digest();
}
