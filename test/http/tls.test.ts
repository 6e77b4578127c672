import assert from 'node:assert/strict';
import { test } from 'node:test';
import { failed, log, verdict } from '../simulated-builds.ts';
import { assertEndsDespiteSilence, makeIdentity } from '../tls-identity.ts';
import { archive, curl, exchange, type Harness, serve } from './harness.ts';

type Served = AsyncDisposable & { readonly harness: Harness; readonly certPath: string };

async function serveTls(options: Parameters<typeof serve>[0] = {}): Promise<Served> {
  await using undo = new AsyncDisposableStack();
  const { identity, certPath } = undo.use(await makeIdentity());
  const harness = undo.use(await serve({ ...options, settings: { ...options.settings, tls: identity } }));
  const resources = undo.move();
  return { harness, certPath, [Symbol.asyncDispose]: () => resources.disposeAsync() };
}

test('a build goes over TLS as it does without (simulated builds)', async () => {
  await using served = await serveTls();
  const { harness, certPath } = served;
  assert.match(harness.url, /^https:/);
  const args = ['--cacert', certPath, '-F', 'context=@-', `${harness.url}/build`];
  const { exit, body, headers } = await curl(args, archive);
  assert.equal(exit, 0);
  assert.match(body, /#2 DONE[\s\S]*kiln: build \S+ succeeded/);
  assert.match(headers, /x-build-state: succeeded/i);
  const { body: greeting } = await curl(['--cacert', certPath, `${harness.url}/`]);
  assert.ok(greeting.includes(`${harness.url}/build`), greeting);
});

test('the answer of a build that failed is cut over TLS, too: curl exits with 18, after the last line (simulated builds)', async () => {
  await using served = await serveTls({ script: [log('#1 x\n'), verdict(failed)] });
  const { harness, certPath } = served;
  const args = ['--cacert', certPath, '-F', 'context=@-', `${harness.url}/build`];
  const { exit, body } = await curl(args, archive);
  assert.equal(exit, 18);
  assert.match(body, /^#1 x\nkiln: [\s\S]*kiln: build \S+ failed/);
});

test('a client that leaves in the middle of an answer over TLS cancels its build (simulated builds)', async () => {
  await using served = await serveTls({
    async *script(signal) {
      yield log('#1 x\n');
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
      signal.throwIfAborted();
    },
  });
  const { harness, certPath } = served;
  const limited = ['--cacert', certPath, '-m', '2', '-F', 'context=@-', `${harness.url}/build`];
  assert.equal((await curl(limited, archive)).exit, 28);
  await harness.builds.firstCancel;
});

test('plain HTTP, and what is no TLS at all, is closed without a word of HTTP, and the next is served (simulated builds)', async () => {
  await using served = await serveTls();
  const { harness, certPath } = served;
  for (const bytes of [
    'GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n',
    '\x16\x03\x01garbage',
    '\0'.repeat(5000),
  ])
    assert.doesNotMatch(await exchange(harness, bytes), /HTTP\/1\.1/);
  assert.equal((await curl(['--cacert', certPath, `${harness.url}/livez`])).exit, 0);
  assert.deepEqual(
    harness.logged.filter(({ level }) => level === 'error'),
    [],
  );
});

test('a handshake that does not end holds up neither other clients nor the end of the service (simulated builds)', async () => {
  await using served = await serveTls();
  const { harness, certPath } = served;
  await assertEndsDespiteSilence(harness, async () => {
    assert.equal((await curl(['--cacert', certPath, `${harness.url}/livez`])).exit, 0);
  });
});
