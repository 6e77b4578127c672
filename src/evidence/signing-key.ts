import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomUUID,
} from 'node:crypto';
import { link, open, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { readIfThere } from '../lib/files.ts';
import { KilnError } from '../model/error.ts';

/** What an installation signs with. */
export type SigningKey = {
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
  /** sha256 of the public key's DER, as lower-case hex: what envelopes call it. */
  readonly id: string;
};

/**
 * Reads the installation's Ed25519 key from `directory`, or makes it there (0600), once.
 * @throws KilnError CONFIG_INVALID for a file that is no such key
 */
export async function ensureSigningKey(directory: string): Promise<SigningKey> {
  const path = join(directory, 'signing_ed25519');
  return parseKey((await readIfThere(path)) ?? (await createKey(path)), path);
}

/** What tells whose signature something bears, in PEM: for those who check it. */
export function publicKeyPem({ publicKey }: Pick<SigningKey, 'publicKey'>): string {
  return publicKey.export({ type: 'spki', format: 'pem' }).toString();
}

function idOf(publicKey: KeyObject): string {
  return createHash('sha256')
    .update(publicKey.export({ type: 'spki', format: 'der' }))
    .digest('hex');
}

function parseKey(text: string, path: string): SigningKey {
  try {
    const privateKey = createPrivateKey(text);
    if (privateKey.asymmetricKeyType !== 'ed25519') throw new Error(`it is ${privateKey.asymmetricKeyType}`);
    const publicKey = createPublicKey(text);
    return { privateKey, publicKey, id: idOf(publicKey) };
  } catch (cause) {
    throw new KilnError(
      'CONFIG_INVALID',
      `${path} is no Ed25519 key in PEM; remove it, and kiln makes another, which what was signed before does not fit.`,
      { cause },
    );
  }
}

/** Whole or not at all, also where the power fails. Where two make one at once, both get the one that came first. */
async function createKey(path: string): Promise<string> {
  const pem = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  const unfinished = `${path}.${randomUUID()}`;
  try {
    await using file = await open(unfinished, 'wx', 0o600);
    await file.writeFile(pem);
    await file.sync();
    await link(unfinished, path).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error;
    });
  } finally {
    // No part of a key stays, also where the disk is full.
    await rm(unfinished, { force: true });
  }
  return readFile(path, 'utf8');
}
