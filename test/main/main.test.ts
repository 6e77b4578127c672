import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import manifest from '../../package.json' with { type: 'json' };
import { type Ended, runProgram } from '../run-program.ts';
import { openElsewhere, queuedRecord } from '../store/harness.ts';
import { openTokens } from '../tokens/harness.ts';

/** kiln, which must end before it has set up anything. */
function run(args: readonly string[], env: Record<string, string> = {}): Promise<Ended> {
  // Folders that it could not make: no case here may come that far.
  const nowhere = { KILN_DATA_DIR: '/dev/null/kiln', KILN_CACHE_DIR: '/dev/null/kiln' };
  return runProgram('src/main.ts', args, { ...nowhere, ...env });
}

test('--help and --version print and do nothing else', async () => {
  const help = await run(['--help']);
  assert.deepEqual([help.status, help.stderr], [0, '']);
  assert.match(help.stdout, /^kiln builds Dockerfiles.*\n\n {2}npm start /);
  assert.deepEqual(await run(['--version']), { status: 0, stdout: `kiln ${manifest.version}\n`, stderr: '' });
});

test('an argument or a setting that does not exist is named, with what lists those that do', async () => {
  for (const [args, env, name] of [
    [['--port=80'], {}, '--port'],
    [['serve'], {}, 'serve'],
    [[], { KILN_LISTENS: '127.0.0.1:80' }, 'KILN_LISTENS'],
  ] as const) {
    const { status, stdout, stderr } = await run(args, env);
    assert.deepEqual([status, stdout], [1, '']);
    assert.ok(stderr.startsWith('kiln: ') && stderr.includes(name), stderr);
    assert.match(stderr, /npm start -- --help/);
  }
});

test('an address that anyone could reach is refused without tokens, with the command that makes one', async () => {
  const { status, stdout, stderr } = await run([], { KILN_GRPC_LISTEN: '0.0.0.0:8081' });
  assert.deepEqual([status, stdout], [1, '']);
  assert.match(
    stderr,
    /^kiln: KILN_GRPC_LISTEN=0\.0\.0\.0:8081 would let anyone .* npm run kiln -- token create /,
  );
});

test('a proxy before kiln is refused without tokens: whoever comes through it would be taken for this machine', async () => {
  const { status, stderr } = await run([], { KILN_TLS_ENDED_BY_PROXY: 'true' });
  assert.equal(status, 1);
  assert.match(stderr, /^kiln: KILN_TLS_ENDED_BY_PROXY=true would let anyone .* token create /);
});

test('an address that anyone could reach is refused when the last token was revoked', async () => {
  await using tokens = await openTokens();
  const { id } = await tokens.folder.create({ role: 'read', tenant: 'default', name: '', days: null });
  await tokens.folder.revoke(id);
  const { status, stderr } = await run([], { KILN_DATA_DIR: tokens.data, KILN_LISTEN: '[::]:0' });
  assert.equal(status, 1);
  assert.match(stderr, /^kiln: KILN_LISTEN=\[::\]:0 would let anyone /);
});

test('with a token such an address is taken; without TLS the start says that tokens from other machines are not', async () => {
  await using tokens = await openTokens();
  await tokens.make('read');
  await using server = createServer();
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const taken = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  // The taken address ends the start right behind what is looked at here.
  const env = { KILN_DATA_DIR: tokens.data, KILN_LISTEN: taken, KILN_GRPC_LISTEN: '0.0.0.0:0' };
  for (const [proxy, told] of [
    [
      'false',
      /^kiln: note {2}KILN_GRPC_LISTEN=0\.0\.0\.0:0 without TLS: tokens from other machines are refused until /,
    ],
    ['true', /^$/],
  ] as const) {
    const { stdout, stderr } = await run([], { ...env, KILN_TLS_ENDED_BY_PROXY: proxy });
    assert.match(stdout, told);
    assert.match(stderr, /^kiln: Cannot listen on 127\.0\.0\.1:/);
  }
});

test('half of what TLS needs is told before anything is set up', async () => {
  const { status, stdout, stderr } = await run([], { KILN_TLS_CERT: '/dev/null/cert.pem' });
  assert.deepEqual([status, stdout], [1, '']);
  assert.equal(stderr, 'kiln: KILN_TLS_CERT and KILN_TLS_KEY are set together or not at all.\n');
});

test('an address that is taken is told at once, before anything is set up', async () => {
  await using server = createServer();
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const taken = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  for (const setting of ['KILN_LISTEN', 'KILN_GRPC_LISTEN']) {
    const free = { KILN_LISTEN: '127.0.0.1:0', KILN_GRPC_LISTEN: '127.0.0.1:0' };
    const { status, stdout, stderr } = await run([], { ...free, [setting]: taken });
    assert.deepEqual([status, stdout], [1, '']);
    assert.equal(
      stderr,
      `kiln: Cannot listen on ${taken}: another program listens there (another kiln?). Set ${setting} to another address.\n`,
    );
  }
});

/** Every file and folder below a folder: its mode, when it was written, what it holds. */
async function describeTree(directory: string): Promise<string[]> {
  const names = await readdir(directory, { recursive: true });
  return Promise.all(
    names.toSorted().map(async (name) => {
      const path = join(directory, name);
      const stats = await stat(path);
      const hash = stats.isFile()
        ? createHash('sha256')
            .update(await readFile(path))
            .digest('hex')
        : '';
      return [name, stats.mode, stats.mtimeMs, hash].join(' ');
    }),
  );
}

test('a second start on the same data is refused before it touches a file of the first', async () => {
  const data = await mkdtemp(join(tmpdir(), 'kiln-main-'));
  try {
    const files = [
      'staging/context.erofs',
      'vms/vm-1/overlay.qcow2',
      'templates/0123/ram',
      'artifacts/incoming/build-1',
      'artifacts/sha256/abc',
      'builds/build-1/log',
      'installation-id',
    ];
    for (const file of files) {
      await mkdir(dirname(join(data, file)), { recursive: true });
      await writeFile(join(data, file), file);
    }
    await using _first = await openElsewhere(data, queuedRecord({ state: 'running' }));
    const before = await describeTree(data);
    // Other addresses, as `npm run demo` has beside `npm start`.
    const free = { KILN_LISTEN: '127.0.0.1:0', KILN_GRPC_LISTEN: '127.0.0.1:0' };
    const { status, stdout, stderr } = await run([], { ...free, KILN_DATA_DIR: data });
    assert.deepEqual([status, stdout], [1, '']);
    assert.equal(
      stderr,
      `kiln: Another kiln runs on ${data}/kiln.db. Stop that one, or give this one a KILN_DATA_DIR of its own.\n`,
    );
    assert.deepEqual(await describeTree(data), before);
  } finally {
    await rm(data, { recursive: true });
  }
});
