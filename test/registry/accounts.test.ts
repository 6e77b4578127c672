import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { startIssuer, startWithPasswords, testAccount } from '../registry-accounts.ts';
import { createLayout, ensureProgram, openTestRegistry, signal } from './harness.ts';

const account = testAccount;

let program: string;
before(async () => {
  program = await ensureProgram();
});

test('an account of the docker config may push to a registry that asks for a password', async () => {
  await using registry = await startWithPasswords();
  await pushAs(registry.host, account.password);
});

test('an account of the docker config may push to a registry that asks for a token of another server', async () => {
  await using issuer = await startIssuer();
  await using registry = await issuer.startRegistry();
  await pushAs(registry.host, account.password);
  assert.ok(
    issuer.scopes.some((scope) => /^repository:archive\/kiln:.*push/.test(scope)),
    issuer.scopes.join(),
  );
});

for (const [which, start] of [
  ['asks for a password', async () => ({ registry: await startWithPasswords(), issuer: null })],
  ['asks for a token', startWithIssuer],
] as const) {
  test(`where a registry ${which}, a wrong one and none at all say what to do, and no secret`, async () => {
    const { registry, issuer } = await start();
    await using _registry = registry;
    await using _issuer = issuer;
    for (const password of ['another-secret-word', null]) {
      await assert.rejects(pushAs(registry.host, password), (error: Error & { code: string }) => {
        assert.equal(error.code, 'REGISTRY_AUTH');
        assert.match(error.message, /KILN_REGISTRY_CONFIG/);
        assert.ok(!/secret|Basic /.test(`${error.message} ${String(error.cause)}`), error.message);
        return true;
      });
    }
  });
}

test('a docker config that is none is named', async () => {
  await using registry = await startWithPasswords();
  await using config = await writeConfig(registry.host, null);
  await writeFile(config.path, '{"auths": ');
  const opened = openTestRegistry({ program, host: registry.host, config: config.path });
  await assert.rejects(opened.digestOf('v1', signal), { code: 'INFRA', message: /config\.json/ });
});

async function pushAs(host: string, password: string | null): Promise<void> {
  await using image = await createLayout();
  await using config = await writeConfig(host, password);
  const registry = openTestRegistry({ program, host, config: config.path });
  await registry.push(image, 'pushing', signal);
  await registry.tag(image.digest, 'v1', signal);
  assert.equal(await registry.digestOf('v1', signal), image.digest);
}

async function writeConfig(
  host: string,
  password: string | null,
): Promise<AsyncDisposable & { path: string }> {
  const directory = await mkdtemp(join(tmpdir(), 'kiln-docker-config-'));
  const path = join(directory, 'config.json');
  const auth = Buffer.from(`${account.user}:${password}`).toString('base64');
  await writeFile(path, JSON.stringify({ auths: password === null ? {} : { [host]: { auth } } }), {
    mode: 0o600,
  });
  return { path, [Symbol.asyncDispose]: () => rm(directory, { recursive: true }) };
}

async function startWithIssuer() {
  const issuer = await startIssuer();
  return { registry: await issuer.startRegistry(), issuer };
}
