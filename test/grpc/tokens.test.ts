import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:http2';
import { connect as connectPlain } from 'node:net';
import { test } from 'node:test';
import { credentials, Metadata, makeClientConstructor, type ServiceError, status } from '@grpc/grpc-js';
import { service as healthService } from 'grpc-health-check';
import { localAdmin, type Role } from '../../src/model/caller.ts';
import { record, simulateBuilds } from '../simulated-builds.ts';
import { idOf, openTokens, type Tokens } from '../tokens/harness.ts';
import {
  build,
  collect,
  context,
  type Harness,
  items,
  reasonOf,
  rebuildRequest,
  serve,
  start,
} from './harness.ts';

type Call = (harness: Harness, metadata: Metadata) => Promise<unknown>;

const id = record.id;
const page = { pageSize: 0, pageToken: '', tag: undefined, since: undefined, until: undefined };
const unary = (send: (done: (error: ServiceError | null) => void) => void): Promise<void> =>
  new Promise((resolve, reject) => send((error) => (error ? reject(error) : resolve())));

const calls: Readonly<Record<string, Call>> = {
  Build: ({ client }, metadata) => build(client.build(metadata), [start(), context('x')]),
  GetBuild: ({ client }, metadata) => unary((done) => client.getBuild({ id }, metadata, done)),
  ListBuilds: ({ client }, metadata) =>
    unary((done) => client.listBuilds({ ...page, states: [] }, metadata, done)),
  CancelBuild: ({ client }, metadata) =>
    unary((done) => client.cancelBuild({ id, reason: '' }, metadata, done)),
  WatchBuild: ({ client }, metadata) =>
    collect(client.watchBuild({ id, logOffset: 0, eventOffset: 0, follow: true }, metadata)),
  DownloadArtifact: ({ client }, metadata) => collect(client.downloadArtifact({ id }, metadata)),
  GetMatrix: ({ client }, metadata) => unary((done) => client.getMatrix({ id }, metadata, done)),
  CancelMatrix: ({ client }, metadata) =>
    unary((done) => client.cancelMatrix({ id, reason: '' }, metadata, done)),
  RebuildImage: ({ images }, metadata) =>
    collect(images.rebuildImage(rebuildRequest({ entry: 'v0.1.99', dryRun: true }), metadata)),
  RollBackImage: ({ images }, metadata) =>
    unary((done) => images.rollBackImage({ entry: 'v0.1.99' }, metadata, done)),
  PruneImages: ({ images }, metadata) =>
    unary((done) => images.pruneImages({ dryRun: true }, metadata, done)),
  GetOperation: ({ images }, metadata) => unary((done) => images.getOperation({ id }, metadata, done)),
  CancelOperation: ({ images }, metadata) =>
    unary((done) => images.cancelOperation({ id, reason: '' }, metadata, done)),
  ResumeOperation: ({ images }, metadata) => unary((done) => images.resumeOperation({ id }, metadata, done)),
  WatchOperation: ({ images }, metadata) =>
    collect(images.watchOperation({ id, logOffset: 0, eventOffset: 0, follow: true }, metadata)),
};

/** Every call and the code that each role gets; the build has ended and kept nothing. */
const expected: Readonly<Record<string, Readonly<Record<Role, string>>>> = {
  Build: { read: 'ROLE_TOO_LOW', build: 'OK', admin: 'OK' },
  GetBuild: { read: 'OK', build: 'OK', admin: 'OK' },
  ListBuilds: { read: 'OK', build: 'OK', admin: 'OK' },
  CancelBuild: { read: 'ROLE_TOO_LOW', build: 'BUILD_TERMINAL', admin: 'BUILD_TERMINAL' },
  WatchBuild: { read: 'OK', build: 'OK', admin: 'OK' },
  DownloadArtifact: { read: 'NOT_FOUND', build: 'NOT_FOUND', admin: 'NOT_FOUND' },
  GetMatrix: { read: 'NOT_FOUND', build: 'NOT_FOUND', admin: 'NOT_FOUND' },
  CancelMatrix: { read: 'ROLE_TOO_LOW', build: 'NOT_FOUND', admin: 'NOT_FOUND' },
  RebuildImage: { read: 'ROLE_TOO_LOW', build: 'ROLE_TOO_LOW', admin: 'BUILDKIT_UNKNOWN' },
  RollBackImage: { read: 'ROLE_TOO_LOW', build: 'ROLE_TOO_LOW', admin: 'BUILDKIT_UNKNOWN' },
  PruneImages: { read: 'ROLE_TOO_LOW', build: 'ROLE_TOO_LOW', admin: 'OK' },
  GetOperation: { read: 'ROLE_TOO_LOW', build: 'ROLE_TOO_LOW', admin: 'NOT_FOUND' },
  CancelOperation: { read: 'ROLE_TOO_LOW', build: 'ROLE_TOO_LOW', admin: 'NOT_FOUND' },
  ResumeOperation: { read: 'ROLE_TOO_LOW', build: 'ROLE_TOO_LOW', admin: 'NOT_FOUND' },
  WatchOperation: { read: 'ROLE_TOO_LOW', build: 'ROLE_TOO_LOW', admin: 'NOT_FOUND' },
};

async function open(): Promise<AsyncDisposable & { harness: Harness; tokens: Tokens }> {
  const tokens = await openTokens();
  const harness = await serve(simulateBuilds({ script: items }), {}, tokens.authenticate);
  return {
    ...{ harness, tokens },
    async [Symbol.asyncDispose]() {
      await harness[Symbol.asyncDispose]();
      await tokens[Symbol.asyncDispose]();
    },
  };
}

/** `OK`, or code of gRPC and of kiln. */
async function outcome(call: Promise<unknown>): Promise<string> {
  try {
    await call;
    return 'OK';
  } catch (error) {
    const { code } = error as ServiceError;
    return `${status[code]} ${reasonOf(error)}`;
  }
}

function bearing(...values: readonly string[]): Metadata {
  const metadata = new Metadata();
  for (const value of values) metadata.add('authorization', value);
  return metadata;
}

const words = {
  ROLE_TOO_LOW: 'PERMISSION_DENIED',
  BUILD_TERMINAL: 'FAILED_PRECONDITION',
  NOT_FOUND: 'NOT_FOUND',
  BUILDKIT_UNKNOWN: 'NOT_FOUND',
};

for (const [name, call] of Object.entries(calls)) {
  test(`${name}: each role, none, a wrong token, another tenant (simulated builds)`, async () => {
    await using opened = await open();
    const { harness, tokens } = opened;
    const token = await tokens.make('admin');
    for (const [role, code] of Object.entries(expected[name] ?? assert.fail()) as [
      Role,
      keyof typeof words,
    ][]) {
      const metadata = bearing(`Bearer ${await tokens.make(role)}`);
      const want = code in words ? `${words[code]} ${code}` : 'OK';
      assert.equal(await outcome(call(harness, metadata)), want, role);
    }
    assert.equal(await outcome(call(harness, bearing())), 'UNAUTHENTICATED TOKEN_MISSING');
    assert.equal(await outcome(call(harness, bearing(`Basic ${token}`))), 'UNAUTHENTICATED TOKEN_MISSING');
    assert.equal(await outcome(call(harness, bearing(`Bearer ${token}x`))), 'UNAUTHENTICATED TOKEN_INVALID');
    // What is asked for is nobody's.
    if (['Build', 'ListBuilds', 'RebuildImage', 'RollBackImage', 'PruneImages'].includes(name)) return;
    const stranger = bearing(`Bearer ${await tokens.make('admin', 'other')}`);
    assert.equal(await outcome(call(harness, stranger)), 'NOT_FOUND NOT_FOUND');
  });
}

test('a revoked token is refused from the next call on (simulated builds)', async () => {
  await using opened = await open();
  const { harness, tokens } = opened;
  const token = await tokens.make('read');
  const get = () => outcome(calls['GetBuild']?.(harness, bearing(`Bearer ${token}`)) ?? assert.fail());
  assert.equal(await get(), 'OK');
  await tokens.folder.revoke(idOf(token));
  assert.equal(await get(), 'UNAUTHENTICATED TOKEN_INVALID');
});

test('of several tokens in one call the first counts, and no other is looked at (simulated builds)', async () => {
  const seen: (string | undefined)[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  await using harness = await serve(simulateBuilds(), {}, async ({ authorization }) => {
    seen.push(authorization);
    resolve();
    return localAdmin;
  });
  const socket = connectPlain(harness.port, '127.0.0.1').on('error', () => undefined);
  // No library sends a header twice that may come once.
  const headers = [
    ...[':method POST', ':scheme http', ':path /kiln.v1.BuildService/GetBuild', ':authority localhost'],
    ...['content-type application/grpc', 'te trailers'],
    ...['authorization Bearer one', 'authorization Bearer two'],
  ].map((line) => line.split(/ (.*)/s));
  socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
  socket.write(frame(4, 0, 0));
  socket.write(frame(1, 4, 1, Buffer.concat(headers.map(([name = '', value = '']) => literal(name, value)))));
  socket.write(frame(0, 1, 1, Buffer.alloc(5)));
  await promise;
  socket.destroy();
  assert.deepEqual(seen, ['Bearer one']);
});

/** A frame of HTTP/2. */
function frame(type: number, flags: number, stream: number, body = Buffer.alloc(0)): Buffer {
  const head = Buffer.from([0, 0, 0, type, flags, 0, 0, 0, stream]);
  head.writeUIntBE(body.length, 0, 3);
  return Buffer.concat([head, body]);
}

/** A header as HPACK has it that is neither known nor to be remembered; name and value are shorter than 127 bytes. */
function literal(name: string, value: string): Buffer {
  return Buffer.concat(
    [[0], [name.length], Buffer.from(name), [value.length], Buffer.from(value)].map((part) =>
      Buffer.from(part),
    ),
  );
}

for (const name of ['GetBuild', 'Build']) {
  test(`who has no token for ${name} hears so before a message of it is taken (simulated builds)`, async () => {
    await using opened = await open();
    const { harness, tokens } = opened;
    await tokens.make('read');
    const session = connect(`http://127.0.0.1:${harness.port}`).on('error', () => undefined);
    const stream = session
      .request({
        ...{ ':method': 'POST', ':path': `/kiln.v1.BuildService/${name}`, te: 'trailers' },
        'content-type': 'application/grpc',
      })
      .on('error', () => undefined);
    // 2 MB are announced, and do not come.
    stream.write(Buffer.from('00001e8480', 'hex'));
    const [headers] = await once(stream, 'response', { signal: AbortSignal.timeout(60_000) });
    assert.equal(Number(headers['grpc-status']), status.UNAUTHENTICATED);
    session.destroy();
  });
}

test('metadata far too large ends its own call, and the next one is served (simulated builds)', async () => {
  await using opened = await open();
  const { harness, tokens } = opened;
  const token = await tokens.make('read');
  const session = connect(`http://127.0.0.1:${harness.port}`).on('error', () => undefined);
  const stream = session
    .request({
      ...{ ':method': 'POST', ':path': '/kiln.v1.BuildService/GetBuild', 'content-type': 'application/grpc' },
      ...{ te: 'trailers', authorization: `Bearer ${token}${'A'.repeat(60_000)}` },
    })
    .on('error', () => undefined);
  let code = '';
  stream.on('response', (headers) => {
    code = String(headers['grpc-status'] ?? '');
  });
  stream.resume().end();
  await once(stream, 'close');
  session.destroy();
  assert.notEqual(code, '0');
  assert.equal(
    await outcome(calls['GetBuild']?.(harness, bearing(`Bearer ${token}`)) ?? assert.fail()),
    'OK',
  );
});

test('health and reflection need no token: whoever watches over the service has none (simulated builds)', async () => {
  await using opened = await open();
  const { harness, tokens } = opened;
  await tokens.make('read');
  const Health = makeClientConstructor(healthService, 'grpc.health.v1.Health');
  const client = new Health(`127.0.0.1:${harness.port}`, credentials.createInsecure());
  const answer = await new Promise<{ status: string }>((resolve, reject) => {
    client['check']?.({ service: '' }, (error: Error | null, value: { status: string }) =>
      error ? reject(error) : resolve(value),
    );
  });
  assert.equal(answer.status, 'SERVING');
  client.close();
});
