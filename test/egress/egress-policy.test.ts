import assert from 'node:assert/strict';
import { networkInterfaces } from 'node:os';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { createEgressPolicy, type EgressPolicyOptions } from '../../src/egress/egress-policy.ts';
import { parseRegistryMirrors } from '../../src/egress/settings.ts';
import { rulesOf } from './harness.ts';

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
  const resolve = async (host: string) => answers[host] ?? null;
  return createEgressPolicy({
    ...{ ...rulesOf(), mirrors: [], resolve: { set: resolve, chosen: resolve } },
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
  test(`${host} is refused as not public`, async () => {
    const address = (answers[host]?.[0] ?? host).replace('::ffff:', '');
    for (const port of [443, null]) {
      const decision = await policyOf()({ host, port }, signal);
      assert.deepEqual(decision, { allowed: false, reason: 'not-public', address }, `port ${port}`);
    }
  });
}

test('the addresses of this machine are refused, public ones too', async () => {
  const resolve = async () => [publicAddress];
  const policy = createEgressPolicy({
    ...{ ...rulesOf(), mirrors: [], resolve: { set: resolve, chosen: resolve } },
  });
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
  { allow: '10.0.0.0/8', host: 'private.test', port: 5432, allowed: true },
  { allow: '10.0.0.0/8:443', host: '10.9.9.9', port: 443, allowed: true },
  { allow: '10.0.0.0/8:443', host: '10.9.9.9', port: 444, allowed: false },
  { allow: '127.0.0.1:5000', host: 'host.kiln.internal', port: 5000, allowed: true },
  { allow: 'host.kiln.internal:5000', host: 'host.kiln.internal', port: 5000, allowed: true },
  { allow: 'host.kiln.internal:5000', host: 'host.kiln.internal', port: 5001, allowed: false },
  { allow: 'host.kiln.internal:5000', host: '127.0.0.1', port: 5000, allowed: false },
  { allow: '10.0.0.5:1', host: 'host.kiln.internal', port: 1, allowed: false },
];

for (const { allow, host, port, allowed } of opened) {
  test(`KILN_EGRESS_ALLOW=${allow} ${allowed ? 'opens' : 'does not open'} port ${port} of ${host}`, async () => {
    const policy = policyOf(rulesOf({ allow: [allow] }));
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
    ...rulesOf({ allow: ['private.test:80'] }),
    mirrors: parseRegistryMirrors(['docker.io=http://mirror.lan']),
    resolve: { set: ask('set'), chosen: ask('chosen') },
  });
  for (const host of ['private.test', 'mirror-0.kiln.internal', 'other.test'])
    await policy({ host, port: 80 }, signal);
  assert.deepEqual(asked, ['set private.test', 'set mirror.lan', 'chosen other.test']);
});

test('a name that does not exist is unknown', async () => {
  const decision = await policyOf()({ host: 'nowhere.test', port: 80 }, signal);
  assert.deepEqual(decision, { allowed: false, reason: 'name-unknown', address: null });
});

test('a name server that never answers is given up after ten seconds', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const resolve = () => new Promise<never>(() => undefined);
  const pending = policyOf({ resolve: { set: resolve, chosen: resolve } })(
    { host: 'slow.test', port: 80 },
    signal,
  );
  await setImmediate();
  t.mock.timers.tick(10_000);
  const decision = await pending;
  assert.deepEqual(decision, { allowed: false, reason: 'name-unresolved', address: null });
});

type Wanted = 'open' | 'denied' | 'not-in-only' | 'not-public';
const settings: readonly (readonly [
  { allow?: string[]; deny?: string[]; only?: string[] },
  host: string,
  port: number | null,
  Wanted,
])[] = [
  [{ deny: ['public.test'] }, 'public.test', 443, 'denied'],
  [{ deny: ['public.test'] }, 'public.test', null, 'denied'],
  [{ deny: ['public.test:22'] }, 'public.test', null, 'open'],
  [{ deny: ['public.test:22'] }, 'public.test', 22, 'denied'],
  [{ deny: ['public.test:22'] }, 'public.test', 443, 'open'],
  [{ deny: ['*.test'] }, 'public.test', 443, 'denied'],
  [{ deny: ['93.184.0.0/16', '2606::/16'] }, 'public.test', 443, 'denied'],
  [{ deny: ['93.184.0.0/16'] }, publicAddress, 443, 'denied'],
  [{ deny: ['private.test'], allow: ['private.test:443'] }, 'private.test', 443, 'denied'],
  [{ only: ['*.test'] }, 'public.test', 443, 'open'],
  [{ only: ['*.test'] }, 'private.test', 443, 'not-public'],
  [{ only: ['public.test:443'] }, 'public.test', 80, 'not-in-only'],
  [{ only: ['public.test:443'] }, 'public.test', null, 'open'],
  [{ only: ['other.test'] }, 'public.test', 443, 'not-in-only'],
  [{ only: ['other.test'] }, 'public.test', null, 'not-in-only'],
  [{ only: ['other.test'] }, publicAddress, 443, 'not-in-only'],
  [{ only: ['93.184.0.0/16'] }, publicAddress, 443, 'open'],
  [{ only: ['93.184.0.0/16'] }, 'public.test', 443, 'open'],
  [{ only: ['other.test'], allow: ['private.test:443'] }, 'private.test', 443, 'open'],
  [{ only: ['other.test'], allow: ['127.0.0.1:5000'] }, 'host.kiln.internal', 5000, 'open'],
];

for (const [given, host, port, wanted] of settings) {
  test(`with ${JSON.stringify(given)}, ${host} at port ${port} is ${wanted}`, async () => {
    const decision = await policyOf(rulesOf(given))({ host, port }, signal);
    assert.equal(decision.allowed ? 'open' : decision.reason, wanted);
  });
}

test('of a name with a denied address, the others are used', async () => {
  const policy = policyOf(rulesOf({ deny: ['93.184.0.0/16'] }));
  const decision = await policy({ host: 'public.test', port: 80 }, signal);
  assert.deepEqual(decision.allowed && decision.addresses, ['2606:2800::1']);
});

test('a name that KILN_EGRESS_ONLY does not name is not told to any name server', async () => {
  const resolve = async (host: string): Promise<never> => assert.fail(`${host} was looked up`);
  const policy = policyOf({
    ...rulesOf({ only: ['other.test'] }),
    resolve: { set: resolve, chosen: resolve },
  });
  await policy({ host: 'secret.leaks.test', port: null }, signal);
});

test('a mirror is open whatever the other settings close', async () => {
  const mirrors = parseRegistryMirrors(['docker.io=http://127.0.0.1:5000']);
  const policy = policyOf({ ...rulesOf({ deny: ['127.0.0.0/8'], only: ['other.test'] }), mirrors });
  assert.equal((await policy({ host: 'mirror-0.kiln.internal', port: 80 }, signal)).allowed, true);
});
