import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import { connect } from 'node:net';
import { test } from 'node:test';
import { createCheckedDial } from '../../src/egress/dial-checked.ts';
import { createEgressPolicy } from '../../src/egress/egress-policy.ts';
import { parseEgressRules } from '../../src/egress/settings.ts';
import { createDigestReader } from '../../src/registry/read-digest.ts';
import { startDockerRegistry } from '../docker-registry.ts';
import { listen } from '../listen.ts';
import { basicAuthOf, startIssuer, startWithPasswords, testAccount } from '../registry-accounts.ts';

const { signal } = new AbortController();
const auth = basicAuthOf(testAccount).replace('Basic ', '');
const wrong = Buffer.from('kiln:another-word').toString('base64');

/** As a service has it that opens these destinations to builds. */
function readerFor(...allow: string[]) {
  const rules = parseEgressRules({ allow, deny: [], only: [] });
  const dial = createCheckedDial(createEgressPolicy({ ...rules, mirrors: [] }));
  return createDigestReader({ dial, waitsMs: [] });
}

function inBuild(host: string): string {
  return host.replace('127.0.0.1', 'host.kiln.internal');
}

const sha256 = (bytes: Buffer): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

/** Puts the smallest image there is into a registry. @returns its digest */
async function putImage(url: string, tag: string, authorization: string): Promise<string> {
  const headers = { Authorization: authorization };
  const config = Buffer.from('{}');
  const begun = await fetch(`${url}/v2/team/app/blobs/uploads/`, { method: 'POST', headers });
  const location = new URL(begun.headers.get('location') ?? '');
  location.searchParams.set('digest', sha256(config));
  const type = { 'Content-Type': 'application/octet-stream' };
  const put = await fetch(location, { method: 'PUT', headers: { ...headers, ...type }, body: config });
  assert.equal(put.status, 201);
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const manifest = Buffer.from(
    JSON.stringify({
      ...{ schemaVersion: 2, mediaType, layers: [] },
      config: {
        mediaType: 'application/vnd.oci.image.config.v1+json',
        digest: sha256(config),
        size: config.length,
      },
    }),
  );
  const done = await fetch(`${url}/v2/team/app/manifests/${tag}`, {
    ...{ method: 'PUT', headers: { ...headers, 'Content-Type': mediaType }, body: manifest },
  });
  assert.equal(done.status, 201);
  return sha256(manifest);
}

test('the digest of a tag is that of its bytes; what is not there is null; who has no account is told so', async () => {
  await using registry = await startWithPasswords();
  const host = inBuild(registry.host);
  const digest = await putImage(registry.url, '1', `Basic ${auth}`);
  const read = readerFor(host);
  const accounts = { [host]: { auth } };
  assert.equal(await read(`${host}/team/app:1`, accounts, signal), digest);
  assert.equal(await read(`${host}/team/app`, accounts, signal), null);
  for (const bad of [{}, { [host]: { auth: wrong } }, { 'other.test': { auth } }])
    await assert.rejects(read(`${host}/team/app:1`, bad, signal), (error: Error & { code: string }) => {
      assert.equal(error.code, 'REGISTRY_AUTH');
      assert.ok(!`${error.message} ${String(error.cause)}`.includes(wrong));
      return true;
    });
});

test('a registry that wants the token of another server is given one', async () => {
  await using issuer = await startIssuer();
  await using registry = await issuer.startRegistry();
  const challenge = (await fetch(`${registry.url}/v2/`)).headers.get('www-authenticate') ?? '';
  const realm = /realm="([^"]+)"/.exec(challenge)?.[1] ?? '';
  const asked = new URL(realm);
  asked.searchParams.set('scope', 'repository:team/app:pull,push');
  const given = await fetch(asked, { headers: { Authorization: `Basic ${auth}` } });
  const { token } = (await given.json()) as { token: string };
  const digest = await putImage(registry.url, '1', `Bearer ${token}`);
  const host = inBuild(registry.host);
  const read = readerFor(host, asked.host);
  assert.equal(await read(`${host}/team/app:1`, { [host]: { auth } }, signal), digest);
  assert.ok(issuer.scopes.includes('repository:team/app:pull'));
  assert.equal(await read(`${host}/team/app:1`, { [host]: { registrytoken: token } }, signal), digest);
  await assert.rejects(read(`${host}/team/app:1`, { [host]: { auth: wrong } }, signal), {
    code: 'REGISTRY_AUTH',
  });
});

test('kiln goes nowhere that builds may not go, neither to a registry nor to one who gives tokens', async () => {
  await using registry = await startWithPasswords();
  const host = inBuild(registry.host);
  await assert.rejects(readerFor()(`${host}/team/app:1`, {}, signal), {
    ...{ code: 'REGISTRY_UNAVAILABLE', message: /not open to builds \(not-public\)/ },
  });
  await using issuer = await startIssuer();
  await using other = await issuer.startRegistry();
  const alone = inBuild(other.host);
  const failing = readerFor(alone)(`${alone}/team/app:1`, { [alone]: { auth } }, signal);
  await assert.rejects(failing, { code: 'REGISTRY_UNAVAILABLE', message: /127\.0\.0\.1:\d+ is not open/ });
  assert.deepEqual(issuer.scopes, []);
});

test('with a registry simulated: one that is overloaded is asked again, and one that sends too much or nothing is given up', async () => {
  let asked = 0;
  const server = createServer((_request, response) => {
    asked += 1;
    if (asked < 3) response.writeHead(503).end();
    else if (asked === 3) response.end('manifest');
    else response.end(Buffer.alloc(5 * 1024 * 1024));
  });
  await using listening = await listen(server);
  const dial = async () => connect(listening.port, '127.0.0.1');
  const read = createDigestReader({ dial, waitsMs: [1, 1] });
  const name = 'host.kiln.internal:5000/a';
  assert.equal(await read(name, {}, signal), sha256(Buffer.from('manifest')));
  await assert.rejects(read(name, {}, signal), {
    code: 'REGISTRY_UNAVAILABLE',
    message: /more than 4194304/,
  });
  const cancel = AbortSignal.abort(new Error('enough'));
  await assert.rejects(read(name, {}, cancel), { message: 'enough' });
});

test('a registry that speaks no TLS is not sent a password, unless it is on this machine', async () => {
  await using registry = await startDockerRegistry();
  const dial = async () => connect(Number(registry.host.split(':')[1]), '127.0.0.1');
  const read = createDigestReader({ dial, waitsMs: [] });
  await assert.rejects(read('r.test/a', { 'r.test': { auth } }, signal), { code: 'REGISTRY_UNAVAILABLE' });
});
