import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import ssh2 from 'ssh2';

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
  if (parsed instanceof Error) throw new Error(`${path} is not a private key: ${parsed.message}`);
  return { privateKey, publicKey: parsed.getPublicSSH().toString('base64') };
}

async function readIfThere(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
    throw error;
  }
}

async function createKey(path: string): Promise<string> {
  const { private: privateKey } = ssh2.utils.generateKeyPairSync('ed25519');
  await writeFile(path, privateKey, { mode: 0o600, flag: 'wx' });
  return privateKey;
}
