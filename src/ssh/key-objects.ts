import { createSecretKey, type KeyObject } from 'node:crypto';
import type { Client } from 'ssh2';

/** What ssh2 1.17.0 gives to node:crypto anew for each packet (lib/protocol/crypto.js, AES-GCM without its native part). */
type Keys = {
  readonly _cipher: { _encKey?: Buffer | KeyObject };
  readonly _decipher: { _decipherKey?: Buffer | KeyObject };
};

/** Makes a connection's keys, once it is ready, what node:crypto would make of their bytes for each packet: a third of kiln's work. */
export function keepKeyObjects(client: Client): void {
  const { _cipher: cipher, _decipher: decipher } = (client as unknown as { _protocol: Keys })._protocol;
  if (Buffer.isBuffer(cipher._encKey)) cipher._encKey = createSecretKey(cipher._encKey);
  if (Buffer.isBuffer(decipher._decipherKey)) decipher._decipherKey = createSecretKey(decipher._decipherKey);
}
