import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { test } from 'node:test';
import { connect } from 'node:tls';
import { AnnouncedName } from '../../src/egress/announced-name.ts';

/** The first bytes of a real TLS client. */
async function clientHello(servername: string): Promise<Buffer> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', servername });
  client.on('error', () => undefined);
  const [socket] = await once(server, 'connection');
  const [hello] = await once(socket, 'data');
  client.destroy();
  server.close();
  return hello;
}

/** What is said while the bytes go by in these pieces. */
function announce(...pieces: readonly (string | Buffer)[]): (string | null)[] {
  const announced = new AnnouncedName();
  return pieces.map((piece) => announced.see(Buffer.from(piece as string, 'latin1')));
}

test('the name of a TLS client is said once its hello is whole, wherever that was cut', async () => {
  const hello = await clientHello('Some.Example.org');
  for (let at = 1; at < hello.length; at += 1) {
    const said = announce(hello.subarray(0, at), hello.subarray(at), 'more bytes');
    assert.deepEqual(said, [null, 'some.example.org', null], `cut at ${at}`);
  }
});

test('a TLS hello without a name, and one whose lengths lie, announce nothing', async () => {
  const hello = await clientHello('');
  assert.deepEqual(announce(hello), [null]);
  const named = await clientHello('some.example.org');
  for (let at = 5; at < named.length; at += 1) {
    const lying = Buffer.from(named);
    lying.writeUInt8(lying.readUInt8(at) ^ 0xff, at);
    const [said = null] = announce(lying);
    assert.ok(said === null || /^[a-z0-9._-]+$/.test(said), `byte ${at}: ${said}`);
  }
});

const requests: readonly (readonly [string, readonly string[], string | null])[] = [
  ['a request', ['GET / HTTP/1.1\r\nHost: a.example:8080\r\n\r\n'], 'a.example'],
  ['one in pieces', ['GE', 'T / HTTP/1.1\r\nHo', 'st: a.exam', 'ple\r\n', '\r\n'], 'a.example'],
  ['one whose name is cut', ['GET / HTTP/1.1\r\nHost: a.exam'], null],
  ['one for a host called more', ['GET / HTTP/1.1\r\nHost: more\r\n\r\n'], 'more'],
  ['one without a host', ['GET / HTTP/1.0\r\n\r\nHost: late.example\r\n'], null],
  ['one for an address', ['GET / HTTP/1.1\r\nHost: 10.0.0.5\r\n\r\n'], null],
  ['one with an odd host', ['GET / HTTP/1.1\r\nHost: a\x1b[0m\r\n\r\n'], null],
  ['ssh', ['SSH-2.0-OpenSSH_9.2\r\nHost: a.example\r\n'], null],
  ['a header beyond 16 KiB', [`GET /${'x'.repeat(17_000)} HTTP/1.1\r\nHost: a.example\r\n\r\n`], null],
];

for (const [title, pieces, expected] of requests) {
  test(`${title} announces ${expected ?? 'nothing'}`, () =>
    assert.equal(announce(...pieces).find((said) => said !== null) ?? null, expected));
}

test('a Host of blanks alone takes no time', () => {
  const blanks = ' '.repeat(8000);
  assert.deepEqual(announce(`GET / HTTP/1.1\r\nHost:${blanks}`, `${blanks}x`, '\r\n\r\n'), [null, null, 'x']);
  assert.deepEqual(announce(`GET / HTTP/1.1\r\nHost:${blanks}some.test \t\r\n\r\n`), ['some.test']);
});
