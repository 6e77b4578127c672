import { rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import ssh2 from 'ssh2';
import { readIfThere } from '../lib/files.ts';
import { KilnError } from '../model/error.ts';

/** The key pair of one installation: the only one its guests accept. */
export type SshKeyPair = {
  /** OpenSSH private key, PEM. */
  readonly privateKey: string;
  /** The base64 word of `ssh-ed25519 AAAA…`. */
  readonly publicKey: string;
};

/** Reads the installation's key pair from `directory`, or makes it there (0600) at the first start. */
export async function ensureKeyPair(directory: string): Promise<SshKeyPair> {
  const path = join(directory, 'ssh_ed25519');
  const privateKey = (await readIfThere(path)) ?? (await createKey(path));
  const parsed = ssh2.utils.parseKey(privateKey);
  if (parsed instanceof Error)
    throw new KilnError(
      'CONFIG_INVALID',
      `${path} is no private key (${parsed.message}); remove it, and kiln makes another.`,
    );
  return { privateKey, publicKey: publicKeyOf(parsed) };
}

/** Whole or not at all: a start that is cut short here leaves no half of a key. */
async function createKey(path: string): Promise<string> {
  const { privateKey } = generateKeyPair();
  const unfinished = `${path}.new`;
  await writeFile(unfinished, privateKey, { mode: 0o600 });
  await rename(unfinished, path);
  return privateKey;
}

/**
 * A new ed25519 key pair. ssh2 1.17.0 drops the zero byte that one public key in 256 begins with, and such a pair is none:
 * another is made.
 */
export function generateKeyPair(): SshKeyPair {
  for (;;) {
    const { private: privateKey } = ssh2.utils.generateKeyPairSync('ed25519');
    const parsed = ssh2.utils.parseKey(privateKey);
    if (!(parsed instanceof Error)) return { privateKey, publicKey: publicKeyOf(parsed) };
  }
}

/** Why nobody can log in by it, in half a sentence without a word of the key; null where it is a private key without a password. */
export function findKeyProblem(privateKey: Buffer): string | null {
  const parsed = ssh2.utils.parseKey(privateKey);
  // ssh2 reads keys of PuTTY, too; BuildKit does not.
  if (!/^\s*-----BEGIN /.test(privateKey.toString('latin1', 0, 64)))
    return 'is not a private ssh key, such as ssh-keygen makes';
  if (parsed instanceof Error)
    return /encrypted/i.test(parsed.message)
      ? 'is a key with a password; send one without'
      : 'is not a private ssh key, such as ssh-keygen makes';
  return parsed.isPrivateKey() ? null : 'is a public key; send the private one';
}

function publicKeyOf(key: ssh2.ParsedKey): string {
  return key.getPublicSSH().toString('base64');
}
