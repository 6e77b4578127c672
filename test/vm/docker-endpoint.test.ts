import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { connectDocker, type DockerEndpoint } from '../../src/vm/docker/engine.ts';
import { startDockerEngine } from '../docker-engine.ts';
import { freePort } from '../docker-registry.ts';

const run = promisify(execFile);
const signal = AbortSignal.timeout(60_000);
let certificates: string;

/** One authority for server and client, and another that the server does not know. */
before(async () => {
  certificates = await mkdtemp(join(tmpdir(), 'kiln-certificates-'));
  await writeFile(join(certificates, 'names'), 'subjectAltName=IP:127.0.0.1\n');
  const make = `
    authority() { openssl req -x509 -newkey ed25519 -nodes -days 2 -subj "/CN=$1" -keyout $1-key.pem -out $1.pem; }
    signed() {
      openssl req -newkey ed25519 -nodes -subj "/CN=$1" -keyout $1-key.pem -out $1.csr
      openssl x509 -req -in $1.csr -CA $2.pem -CAkey $2-key.pem -CAcreateserial -days 2 -extfile names -out $1.pem
    }
    authority ca; authority other; signed server ca; signed client ca; signed stranger other
    for who in client stranger; do mkdir $who-folder; cp ca.pem $who-folder; cp $who.pem $who-folder/cert.pem; cp $who-key.pem $who-folder/key.pem; done`;
  await run('sh', ['-ec', make], { cwd: certificates });
});
after(() => rm(certificates, { recursive: true }));

async function versionOf(endpoint: DockerEndpoint): Promise<string> {
  const engine = await connectDocker(endpoint);
  return engine.ask('say its version', signal, async (docker) => (await docker.version()).Version);
}

test('an engine is spoken to over its socket and over TCP', async () => {
  const host = `tcp://127.0.0.1:${await freePort()}`;
  await using engine = await startDockerEngine({ flags: ['--host', host, '--tls=false'] });
  const version = await engine.docker('version', '--format={{.Server.Version}}');
  assert.equal(await versionOf({ host: engine.host, certificates: null }), version);
  assert.equal(await versionOf({ host, certificates: null }), version);
});

test('an engine is spoken to over TLS with the certificates of a folder, and takes no others', async () => {
  const host = `tcp://127.0.0.1:${await freePort()}`;
  const file = (name: string): string => join(certificates, name);
  const tls = [
    '--tlsverify',
    `--tlscacert=${file('ca.pem')}`,
    `--tlscert=${file('server.pem')}`,
    `--tlskey=${file('server-key.pem')}`,
  ];
  await using engine = await startDockerEngine({ flags: ['--host', host, ...tls] });
  const version = await engine.docker('version', '--format={{.Server.Version}}');
  assert.equal(await versionOf({ host, certificates: file('client-folder') }), version);
  await assert.rejects(versionOf({ host, certificates: file('stranger-folder') }), { code: 'INFRA' });
  await assert.rejects(versionOf({ host, certificates: null }), { code: 'INFRA' });
});

for (const host of ['ssh://somewhere', 'unix:relative', 'tcp://host', '']) {
  test(`DOCKER_HOST=${host} is refused by its name`, async () => {
    await assert.rejects(connectDocker({ host, certificates: null }), {
      code: 'CONFIG_INVALID',
      message: /^DOCKER_HOST: /,
    });
  });
}

test('certificates that are not there are named', async () => {
  await assert.rejects(connectDocker({ host: 'tcp://127.0.0.1:1', certificates: '/nowhere' }), {
    code: 'CONFIG_INVALID',
    message: /^DOCKER_CERT_PATH: ca\.pem cannot be read in \/nowhere\.$/,
  });
});

test('an engine that is not there is told of with its cause', async () => {
  await assert.rejects(versionOf({ host: 'unix:///nowhere/docker.sock', certificates: null }), {
    code: 'INFRA',
    message: 'The Docker engine did not say its version: connect ENOENT /nowhere/docker.sock',
  });
});
