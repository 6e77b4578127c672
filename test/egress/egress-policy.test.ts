import assert from 'node:assert/strict';
import { networkInterfaces } from 'node:os';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { createEgressPolicy, type EgressPolicyOptions } from '../../src/egress/egress-policy.ts';
import { parseEgressAllow, parseRegistryMirrors } from '../../src/egress/settings.ts';

const { signal } = new AbortController();
const publicAddress = '93.184.215.14';

const answers: Record<string, readonly string[]> = {
  'public.test': [publicAddress, '2606:2800::1'],
  'private.test': ['10.0.0.5'],
  'mixed.test': ['127.0.0.1', publicAddress, '10.0.0.5', '::1'],
  'mapped.test': ['::ffff:10.0.0.5'],
  'own.test': ['198.41.0.4'],
};

function policyOf(options: Partial<EgressPolicyOptions> = {}) {
  const resolve = async (host: string) => answers[host] ?? [];
  return createEgressPolicy({
    ...{ allow: [], mirrors: [], resolve: { set: resolve, chosen: resolve } },
    ownAddresses: () => ['198.41.0.4'],
    ...options,
  });
}

test('a public name may be reached at all its addresses and any port', async () => {
  assert.deepEqual(await policyOf()({ host: 'public.test', port: 2222 }, signal), {
    ...{ allowed: true, addresses: [publicAddress, '2606:2800::1'], port: 2222 },
  });
});

test('of a name with public and private addresses only the public ones are used', async () => {
  assert.deepEqual(await policyOf()({ host: 'mixed.test', port: 80 }, signal), {
    ...{ allowed: true, addresses: [publicAddress], port: 80 },
  });
});

for (const host of [
  'private.test',
  'mapped.test',
  '10.0.0.5',
  '::1',
  '127.0.0.1',
  'own.test',
  '198.41.0.4',
]) {
  test(`${host} is refused with the setting that opens it`, async () => {
    const decision = await policyOf()({ host, port: 443 }, signal);
    assert.equal(!decision.allowed && decision.status, 403);
    const setting = host.includes(':') ? `[${host}]:443` : `${host}:443`;
    assert.ok(!decision.allowed && decision.message.endsWith(`KILN_EGRESS_ALLOW=${setting}`));
  });
}

test('the addresses of this machine are refused, public ones too', async () => {
  const resolve = async () => [publicAddress];
  const policy = createEgressPolicy({ allow: [], mirrors: [], resolve: { set: resolve, chosen: resolve } });
  for (const { address } of Object.values(networkInterfaces()).flatMap((found) => found ?? [])) {
    assert.equal((await policy({ host: address, port: 80 }, signal)).allowed, false, address);
  }
});

const opened = [
  { allow: 'private.test:443', host: 'private.test', port: 443, allowed: true },
  { allow: 'private.test:443', host: 'private.test', port: 80, allowed: false },
  { allow: 'private.test:443', host: '10.0.0.5', port: 443, allowed: false },
  { allow: '10.0.0.5:443', host: 'private.test', port: 443, allowed: true },
  { allow: '10.0.0.5:443', host: 'private.test', port: 444, allowed: false },
  { allow: '[::1]:80', host: '::1', port: 80, allowed: true },
  { allow: '[::1]:80', host: '127.0.0.1', port: 80, allowed: false },
];

for (const { allow, host, port, allowed } of opened) {
  test(`KILN_EGRESS_ALLOW=${allow} ${allowed ? 'opens' : 'does not open'} port ${port} of ${host}`, async () => {
    const policy = policyOf({ allow: parseEgressAllow([allow]) });
    assert.equal((await policy({ host, port }, signal)).allowed, allowed);
  });
}

test('the alias of a mirror leads to the mirror, on loopback too, and nowhere else', async () => {
  const mirrors = parseRegistryMirrors(['docker.io=http://127.0.0.1:5000']);
  const policy = policyOf({ mirrors });
  assert.deepEqual(await policy({ host: 'mirror-0.kiln.internal', port: 80 }, signal), {
    ...{ allowed: true, addresses: ['127.0.0.1'], port: 5000 },
  });
  for (const [host, port] of [
    ['mirror-0.kiln.internal', 5000],
    ['mirror-1.kiln.internal', 80],
    ['127.0.0.1', 5000],
  ] as const) {
    assert.equal((await policy({ host, port }, signal)).allowed, false, `${host}:${port}`);
  }
});

test('a name is resolved once: what it means a moment later does not matter', async () => {
  const changing = [[publicAddress], ['127.0.0.1']];
  const resolve = async () => changing.shift() ?? [];
  const policy = policyOf({ resolve: { set: resolve, chosen: resolve } });
  const decision = await policy({ host: 'rebinding.test', port: 80 }, signal);
  assert.deepEqual(decision.allowed && decision.addresses, [publicAddress]);
  assert.equal(changing.length, 1);
});

test('names the operator set are resolved as this machine does, all others by DNS alone', async () => {
  const asked: string[] = [];
  const ask = (way: string) => async (host: string) => {
    asked.push(`${way} ${host}`);
    return ['10.0.0.5'];
  };
  const policy = policyOf({
    allow: parseEgressAllow(['private.test:80']),
    mirrors: parseRegistryMirrors(['docker.io=http://mirror.lan']),
    resolve: { set: ask('set'), chosen: ask('chosen') },
  });
  for (const host of ['private.test', 'mirror-0.kiln.internal', 'other.test'])
    await policy({ host, port: 80 }, signal);
  assert.deepEqual(asked, ['set private.test', 'set mirror.lan', 'chosen other.test']);
});

test('a name without addresses is 502', async () => {
  const decision = await policyOf()({ host: 'nowhere.test', port: 80 }, signal);
  assert.deepEqual(decision, { allowed: false, status: 502, message: 'There is no host nowhere.test.' });
});

test('a name server that never answers is 504 after ten seconds', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const resolve = () => new Promise<never>(() => undefined);
  const pending = policyOf({ resolve: { set: resolve, chosen: resolve } })(
    { host: 'slow.test', port: 80 },
    signal,
  );
  await setImmediate();
  t.mock.timers.tick(10_000);
  const decision = await pending;
  assert.equal(!decision.allowed && decision.status, 504);
});
