import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { decode, encode, type Packet } from 'dns-packet';
import { createDnsResolver } from '../../src/egress/resolve-host.ts';
import { codeOf, frame, GuestDns } from './guest-dns.ts';
import { createTestGateway, readSome, type TestGateway, type TestOptions } from './harness.ts';
import { type Records, startNameServer } from './name-server.ts';

const publicAddress = '93.184.215.14';

async function withDns(options: TestOptions = {}) {
  const gateway = await createTestGateway({ resolve: resolveTo([publicAddress]), ...options });
  const dns = new GuestDns(await gateway.connect());
  return { gateway, dns, [Symbol.asyncDispose]: () => gateway[Symbol.asyncDispose]() };
}

function resolveTo(addresses: readonly string[] | null) {
  const chosen = async (): Promise<readonly string[] | null> => addresses;
  return { set: chosen, chosen };
}

const types: readonly (readonly [type: string, code: string, answers: number])[] = [
  ['A', 'NOERROR', 1],
  ['AAAA', 'NOERROR', 0],
  ['UNKNOWN_64', 'NOERROR', 0],
  ['UNKNOWN_65', 'NOERROR', 0],
  ['TXT', 'NOTIMP', 0],
  ['MX', 'NOTIMP', 0],
  ['SRV', 'NOTIMP', 0],
  ['UNKNOWN_255', 'NOTIMP', 0],
];

for (const [type, code, answers] of types) {
  for (const transport of ['u', 't'] as const) {
    test(`type ${type} over ${transport} is answered by ${code} and ${answers} records`, async () => {
      await using guest = await withDns();
      const answer = await guest.dns.ask('Some.Test', type, { transport });
      assert.equal(codeOf(answer), code);
      assert.equal(answer.answers?.length, answers);
      assert.deepEqual(
        [answer.id, answer.type, answer.flag_ra, answer.flag_rd],
        [77, 'response', true, true],
      );
      assert.deepEqual(
        answer.questions?.map(({ name }) => name),
        ['Some.Test'],
      );
    });
  }
}

test('a name has the same address in every VM, whatever its case, and leads back to its name', async () => {
  await using first = await withDns();
  await using second = await withDns();
  const address = await first.dns.addressOf('some.test');
  assert.equal(await second.dns.addressOf('SOME.test'), address);
  const reversed = `${address.split('.').reverse().join('.')}.in-addr.arpa`;
  const answer = await first.dns.ask(reversed, 'PTR');
  assert.deepEqual(
    answer.answers?.map((record) => 'data' in record && record.data),
    ['some.test'],
  );
  assert.equal(codeOf(await first.dns.ask('1.1.1.1.in-addr.arpa', 'PTR')), 'NXDOMAIN');
  assert.equal(codeOf(await first.dns.ask('nonsense', 'PTR')), 'NXDOMAIN');
});

test('a name there is not, one without addresses, and one that is not known now are told apart', async () => {
  await using unknown = await withDns({ resolve: resolveTo(null) });
  assert.equal(await unknown.dns.addressOf('no.test'), 'NXDOMAIN');
  assert.equal(unknown.gateway.told[0]?.reason, 'name-unknown');
  await using empty = await withDns({ resolve: resolveTo([]) });
  assert.equal(await empty.dns.addressOf('empty.test'), 'NOERROR');
  assert.deepEqual(empty.gateway.told, []);
  const fail = async (): Promise<never> => Promise.reject(new Error('SERVFAIL'));
  await using failing = await withDns({ resolve: { set: fail, chosen: fail } });
  assert.equal(await failing.dns.addressOf('failing.test'), 'SERVFAIL');
  assert.equal(failing.gateway.told[0]?.reason, 'name-unresolved');
});

/** A query with any bytes as its name. */
function rawQuery(name: Buffer, more: { flags?: number; count?: number } = {}): Buffer {
  const { flags = 0x0100, count = 1 } = more;
  const header = Buffer.from([0x12, 0x34, flags >> 8, flags & 255, 0, count, 0, 0, 0, 0, 0, 0]);
  return Buffer.concat([header, name, Buffer.from([0, 1, 0, 1])]);
}

const odd: readonly (readonly [string, Buffer, string])[] = [
  ['a dot within a label', rawQuery(Buffer.from('\x03a.b\x04test\0', 'latin1')), 'FORMERR'],
  ['a label of other bytes than ASCII', rawQuery(Buffer.from('\x02\xff\xfe\x04test\0', 'latin1')), 'FORMERR'],
  ['a space in a label', rawQuery(Buffer.from('\x03a b\x04test\0', 'latin1')), 'FORMERR'],
  ['a NUL in a label', rawQuery(Buffer.from('\x03a\0b\x04test\0', 'latin1')), 'FORMERR'],
  ['no label at all', rawQuery(Buffer.from('\0')), 'FORMERR'],
  ['a name that points to itself', rawQuery(Buffer.from([0xc0, 12])), 'FORMERR'],
  ['a name that points beyond the end', rawQuery(Buffer.from([0xff, 0xff])), 'FORMERR'],
  ['a label that is cut', rawQuery(Buffer.from([63, 97])), 'FORMERR'],
  ['two questions', rawQuery(Buffer.from('\x01a\0'), { count: 2 }), 'FORMERR'],
  ['no question', rawQuery(Buffer.from('\x01a\0'), { count: 0 }), 'FORMERR'],
  ['5000 bytes', rawQuery(Buffer.alloc(5000, '\x01a')), 'FORMERR'],
  ['an update', rawQuery(Buffer.from('\x01a\0'), { flags: 0x2800 }), 'NOTIMP'],
  ['an address as its name', rawQuery(Buffer.from('\x0210\x010\x010\x015\0', 'latin1')), 'NXDOMAIN'],
];

for (const [title, message, code] of odd) {
  test(`a query with ${title} gets ${code}`, async () => {
    await using guest = await withDns();
    const answer = await guest.dns.send(message);
    assert.equal(codeOf(decode(answer)), code);
    assert.equal(answer.readUInt16BE(0), 0x1234);
    assert.deepEqual(guest.gateway.told, []);
  });
}

test('what is no question has no answer, and the next one has', async () => {
  await using guest = await withDns();
  const silent = [Buffer.alloc(0), Buffer.alloc(11), rawQuery(Buffer.from('\x01a\0'), { flags: 0x8180 })];
  let answered = 0;
  for (const message of silent) void guest.dns.send(message).then(() => (answered += 1));
  await guest.dns.addressOf('some.test');
  assert.equal(answered, 0);
});

test('an answer that does not fit is cut, and comes whole over TCP or where the guest takes more', async () => {
  await using guest = await withDns();
  const name = `${'a'.repeat(63)}.${'b'.repeat(63)}.${'c'.repeat(63)}.${'d'.repeat(57)}`;
  const cut = await guest.dns.ask(name);
  assert.deepEqual([cut.flag_tc, cut.answers?.length], [true, 0]);
  const whole = await guest.dns.ask(name, 'A', { transport: 't' });
  assert.deepEqual([whole.flag_tc, whole.answers?.length], [false, 1]);
  const options: Packet['additionals'] = [
    {
      ...{ type: 'OPT', name: '.', udpPayloadSize: 1232, extendedRcode: 0, ednsVersion: 0 },
      ...{ flags: 0, flag_do: false, options: [] },
    },
  ];
  const extended = await guest.dns.ask(name, 'A', { additionals: options });
  assert.deepEqual([extended.flag_tc, extended.answers?.length], [false, 1]);
  assert.equal(extended.additionals?.[0]?.type, 'OPT');
});

test('questions are answered as their answers come, each under its own number', async () => {
  const { promise: asked, resolve: answerSlow } = Promise.withResolvers<string[]>();
  const chosen = async (host: string): Promise<string[]> => (host === 'slow.test' ? asked : [publicAddress]);
  await using guest = await withDns({ resolve: { set: chosen, chosen } });
  const slow = guest.dns.addressOf('slow.test');
  const fast = await Promise.all(Array.from({ length: 100 }, (_, at) => guest.dns.addressOf(`n${at}.test`)));
  assert.equal(new Set(fast).size, 100);
  answerSlow([publicAddress]);
  assert.match(await slow, /^198\.1[89]\./);
});

test('a guest with 256 questions open has its further ones wait, and is answered in the end', async () => {
  let open = 0;
  const { promise: asked, resolve: answerAll } = Promise.withResolvers<string[]>();
  const chosen = (): Promise<string[]> => {
    open += 1;
    return asked;
  };
  await using guest = await withDns({ resolve: { set: chosen, chosen } });
  const answers = Array.from({ length: 1000 }, (_, at) => guest.dns.addressOf(`n${at}.test`));
  while (open < 256) await new Promise((resolve) => setImmediate(resolve));
  for (let turn = 0; turn < 100; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  assert.equal(open, 256);
  answerAll([publicAddress]);
  await Promise.all(answers);
});

const brokenFrames: readonly (readonly [string, Buffer])[] = [
  ['another transport', frame(1, 'x', rawQuery(Buffer.from('\x01a\0')))],
  ['garbage', Buffer.alloc(100_000, 0xaa)],
];

for (const [title, bytes] of brokenFrames) {
  test(`a stream of frames with ${title} is cut`, async () => {
    await using gateway = await createTestGateway();
    const stream = await gateway.connect();
    stream.write('dns\n');
    stream.write(bytes);
    assert.equal(await readSome(stream, 1), '');
  });
}

test('a frame that comes in pieces, and a guest that goes in the middle of one', async () => {
  await using guest = await withDns();
  const stream = await guest.gateway.connect();
  const question = encode({ type: 'query', id: 1, questions: [{ name: 'some.test', type: 'A' }] });
  const bytes = frame(9, 'u', question);
  stream.write('dns\n');
  for (const byte of bytes) stream.write(Buffer.from([byte]));
  assert.equal((await readSome(stream, 4)).charCodeAt(3), 9);
  stream.resume().end(bytes.subarray(0, 10));
  await once(stream, 'close');
});

/** Names whose answers only a real name server gives. */
async function withNameServer(
  records: Records,
): Promise<AsyncDisposable & { dns: GuestDns; gateway: TestGateway }> {
  const server = await startNameServer(records);
  const chosen = createDnsResolver([server.address]);
  const { gateway, dns } = await withDns({ resolve: { set: chosen, chosen } });
  return {
    ...{ gateway, dns },
    async [Symbol.asyncDispose]() {
      await gateway[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

const manyAddresses = Array.from(
  { length: 2900 },
  (_, at) => `93.${184 + (at >> 16)}.${(at >> 8) & 255}.${at & 255}`,
);

const found: readonly (readonly [string, Records, string])[] = [
  ['with an address', { 'x.test': { A: [publicAddress] } }, 'an address'],
  ['with an IPv6 address only', { 'x.test': { AAAA: ['2606:2800::1'] } }, 'an address'],
  ['behind a chain of names', { 'x.test': { chain: 8, A: [publicAddress] } }, 'an address'],
  ['behind a chain that ends at a private address', { 'x.test': { chain: 8, A: ['10.0.0.5'] } }, 'NXDOMAIN'],
  ['with an answer of 62 KB', { 'x.test': { A: manyAddresses } }, 'an address'],
  ['with a private IPv6 address', { 'x.test': { AAAA: ['fd00::1'] } }, 'NXDOMAIN'],
  ['that has only other records', { 'x.test': {} }, 'NOERROR'],
  ['that is not there', {}, 'NXDOMAIN'],
];

for (const [title, records, wanted] of found) {
  test(`a name ${title} is answered by ${wanted}, as a name server on loopback has it`, async () => {
    await using guest = await withNameServer(records);
    const answer = await guest.dns.addressOf('x.test');
    assert.equal(answer.startsWith('198.1') ? 'an address' : answer, wanted);
  });
}

test('a name server that never answers: the guest is told in the end, and others are answered meanwhile', async () => {
  await using guest = await withNameServer({ 'slow.test': 'silence', 'x.test': { A: [publicAddress] } });
  const slow = guest.dns.addressOf('slow.test');
  assert.match(await guest.dns.addressOf('x.test'), /^198/);
  assert.equal(await slow, 'SERVFAIL');
});
