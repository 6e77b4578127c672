import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { connect } from 'node:net';
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
  const directory = await mkdtemp(join(tmpdir(), 'kiln-tls-'));
  const made = await writeIdentity(directory, { names: ['DNS:localhost', 'IP:127.0.0.1'], days: 2 });
  return { ...made, [Symbol.asyncDispose]: () => rm(directory, { recursive: true }) };
}

/** Into a folder, or read from there where it was made before. */
export async function writeIdentity(
  directory: string,
  { names, days }: { readonly names: readonly string[]; readonly days: number },
): Promise<Omit<TestIdentity, keyof AsyncDisposable>> {
  const [certPath, keyPath] = [join(directory, 'cert.pem'), join(directory, 'key.pem')];
  if (!existsSync(certPath)) await makeFiles(certPath, keyPath, names, days);
  return {
    ...{ certPath, keyPath, identity: { cert: await readFile(certPath), key: await readFile(keyPath) } },
  };
}

async function makeFiles(
  certPath: string,
  keyPath: string,
  names: readonly string[],
  days: number,
): Promise<void> {
  await installTools([{ find: 'openssl', package: 'openssl' }]);
  await run('openssl', [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'],
    ...['-days', String(days)],
    ...['-subj', '/CN=localhost', '-addext', `subjectAltName=${names.join()}`],
    ...['-keyout', keyPath, '-out', certPath],
  ]);
}

/** A client that connects and says nothing: `meanwhile` others are served, and the server ends all the same. */
export async function assertEndsDespiteSilence(
  { port, server }: { port: number; server: { close(graceMs: number): Promise<void> } },
  meanwhile: () => Promise<void> = async () => undefined,
): Promise<void> {
  const silent = connect(port, '127.0.0.1').on('error', () => undefined);
  await once(silent, 'connect');
  await meanwhile();
  const begun = performance.now();
  const closed = once(silent, 'close');
  await server.close(100);
  assert.ok(performance.now() - begun < 5000);
  silent.resume();
  await closed;
}
