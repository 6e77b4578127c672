import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type ClientHttp2Session, type ClientHttp2Stream, connect } from 'node:http2';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { status } from '@grpc/grpc-js';
import { BuildRequest, GetBuildRequest } from '../../src/grpc/generated/kiln/v1/build_service.ts';
import type { WatchItem } from '../../src/model/event.ts';
import { record, simulateBuilds } from '../simulated-builds.ts';
import { context, serve, start } from './harness.ts';

/** Clients that do not keep to the rules, so not made with a gRPC library. */

const getBuild = '/kiln.v1.BuildService/GetBuild';
const getBuildMessage = frame(GetBuildRequest.encode({ id: record.id }).finish());

for (const [what, bytes] of [
  ['pieces of a log', 64 * 1024],
  ['large events', 1024 * 1024],
] as const) {
  test(`a client that half-closes and never reads ${what} is dropped, and little is held for it (simulated builds)`, async () => {
    await neverRead(bytes);
  });
}

async function neverRead(bytes: number): Promise<void> {
  let sent = 0;
  async function* flood(): AsyncGenerator<WatchItem> {
    for (;;) {
      yield { kind: 'log', attempt: 1, offset: sent, data: Buffer.alloc(bytes) };
      sent += bytes;
    }
  }
  const builds = simulateBuilds({ script: flood });
  await using harness = await serve(builds, { stallMs: 100 });
  const session = connectTo(harness.port);
  const closed = once(session, 'close');
  const stream = request(session, '/kiln.v1.BuildService/Build');
  stream.write(frame(BuildRequest.encode(start()).finish()));
  stream.end(frame(BuildRequest.encode(context('x')).finish()));
  await closed;
  await builds.firstCancel;
  assert.deepEqual(harness.errors, [], 'that is no fault of ours');
  assert.ok(sent < 4 * 1024 * 1024, `${sent} bytes were taken for a client that reads none`);
}

const authorities = [
  { authority: 'localhost:8081', code: status.OK },
  { authority: 'LOCALHOST', code: status.OK },
  { authority: '[::1]:8081', code: status.OK },
  { authority: 'builds.example.org', code: status.OK },
  { authority: 'evil.example.org:8081', code: status.PERMISSION_DENIED },
  { authority: 'localhost.evil.example.org', code: status.PERMISSION_DENIED },
];

for (const { authority, code } of authorities) {
  test(`a call to the host ${authority} is answered with ${status[code]} (simulated builds)`, async () => {
    await using harness = await serve(simulateBuilds(), { hosts: ['builds.example.org'] });
    const answer = await ask(harness.port, getBuild, getBuildMessage, { ':authority': authority });
    assert.equal(answer.code, code);
  });
}

const malformed = [
  { what: 'garbage in place of a message', body: frame(Buffer.alloc(64, 0xff)), code: status.INTERNAL },
  {
    what: 'a declared length of 4 GiB',
    body: Buffer.from('00ffffffff', 'hex'),
    code: status.RESOURCE_EXHAUSTED,
  },
  {
    what: 'a gzip bomb',
    body: frame(gzipSync(Buffer.alloc(64 * 1024 * 1024)), 1),
    headers: { 'grpc-encoding': 'gzip' },
    code: status.RESOURCE_EXHAUSTED,
  },
  {
    what: 'bad gzip',
    body: frame(Buffer.from('no gzip'), 1),
    headers: { 'grpc-encoding': 'gzip' },
    code: status.INTERNAL,
  },
  {
    what: 'an unknown encoding',
    body: frame(Buffer.from('x'), 1),
    headers: { 'grpc-encoding': 'br' },
    code: status.UNIMPLEMENTED,
  },
  { what: 'an unknown method', path: '/kiln.v1.BuildService/Nothing', code: status.UNIMPLEMENTED },
];

for (const { what, path = getBuild, body = getBuildMessage, headers = {}, code } of malformed) {
  test(`${what} is answered with ${status[code]}, and the next call is served (simulated builds)`, async () => {
    await using harness = await serve(simulateBuilds());
    assert.equal((await ask(harness.port, path, body, headers)).code, code);
    assert.equal((await ask(harness.port, getBuild, getBuildMessage)).code, status.OK);
  });
}

test('another content type than that of gRPC is answered with 415 (simulated builds)', async () => {
  await using harness = await serve(simulateBuilds());
  const { httpStatus } = await ask(harness.port, getBuild, getBuildMessage, { 'content-type': 'text/plain' });
  assert.equal(httpStatus, 415);
});

test('a flood of opened and reset streams leaves other clients served (simulated builds)', async () => {
  await using harness = await serve(simulateBuilds());
  const session = connectTo(harness.port);
  for (let count = 0; count < 5000; count += 1) {
    const stream = request(session, getBuild);
    stream.close(8);
  }
  assert.equal((await ask(harness.port, getBuild, getBuildMessage)).code, status.OK);
  session.destroy();
});

async function ask(
  port: number,
  path: string,
  body: Buffer,
  headers: Record<string, string> = {},
): Promise<{ httpStatus: number; code: number }> {
  const session = connectTo(port);
  const stream = request(session, path, headers);
  let code = Number.NaN;
  let httpStatus = Number.NaN;
  stream.on('response', (answer) => {
    httpStatus = Number(answer[':status']);
    if ('grpc-status' in answer) code = Number(answer['grpc-status']);
  });
  stream.on('trailers', (trailers) => {
    code = Number(trailers['grpc-status']);
  });
  stream.resume();
  stream.end(body);
  await once(stream, 'close');
  session.destroy();
  return { httpStatus, code };
}

function connectTo(port: number): ClientHttp2Session {
  return connect(`http://127.0.0.1:${port}`).on('error', () => undefined);
}

function request(
  session: ClientHttp2Session,
  path: string,
  headers: Record<string, string> = {},
): ClientHttp2Stream {
  return session
    .request({
      ':method': 'POST',
      ':path': path,
      'content-type': 'application/grpc',
      te: 'trailers',
      ...headers,
    })
    .on('error', () => undefined);
}

/** A message as gRPC frames it: whether it is compressed, its length, its bytes. */
function frame(message: Uint8Array, compressed: 0 | 1 = 0): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(compressed, 0);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}
