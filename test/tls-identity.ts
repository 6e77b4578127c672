import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { TlsIdentity } from '../src/lib/tls-identity.ts';
import { installTools } from './install-tools.ts';

const run = promisify(execFile);

export type TestIdentity = AsyncDisposable & {
  readonly certPath: string;
  readonly keyPath: string;
  readonly identity: TlsIdentity;
};

/** A certificate of localhost that is its own authority, and its key. */
export async function makeIdentity(): Promise<TestIdentity> {
  await installTools([{ find: 'openssl', package: 'openssl' }]);
  const directory = await mkdtemp(join(tmpdir(), 'kiln-tls-'));
  const [certPath, keyPath] = [join(directory, 'cert.pem'), join(directory, 'key.pem')];
  await run('openssl', [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'],
    ...['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'],
    ...['-keyout', keyPath, '-out', certPath],
  ]);
  return {
    ...{ certPath, keyPath, identity: { cert: await readFile(certPath), key: await readFile(keyPath) } },
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true }),
  };
}
