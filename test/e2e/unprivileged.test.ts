import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chown, mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import { tied } from '../tied.ts';
import { createContext, curl, waitUntilReady } from './harness.ts';

/** kiln as whoever is not root runs it, with a home of its own; the VM image is root's, in /var/cache/kiln. */
const root = join(import.meta.dirname, '../..');
const user = 61_234;
let home: string;

before(async () => {
  home = await mkdtemp(join(tmpdir(), 'kiln-home-'));
  await mkdir(join(home, 'kiln'));
  await chown(home, user, user);
});
after(() => rm(home, { recursive: true }));

/** The project may lie where this user may not look: it is mounted into the user's home, for this process alone. */
function start(env: Record<string, string> = {}): ChildProcess {
  const project = join(home, 'kiln');
  const inside = relative(root, process.execPath);
  const node = inside.startsWith('..') ? process.execPath : join(project, inside);
  const privileges = [`--reuid=${user}`, `--regid=${user}`, '--clear-groups'];
  const kiln = tied(node, ['src/main.ts'], { privileges }).flat();
  const script = 'mount --bind "$0" "$1" && cd "$1" && shift && exec "$@"';
  return spawn('unshare', ['--mount', 'sh', '-c', script, root, project, ...kiln], {
    env: {
      ...{ HOME: home, PATH: process.env['PATH'], KILN_POOL_SIZE: '1', KILN_ACCEL: 'tcg' },
      ...{ KILN_LISTEN: '127.0.0.1:0', KILN_GRPC_LISTEN: '127.0.0.1:0' },
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

test('who is not root and has no VM image is told the one command that makes it', async () => {
  const child = start({ KILN_CACHE_DIR: join(home, 'empty'), KILN_IMAGE_SOURCES: 'packages' });
  const { stderr } = child;
  assert.ok(stderr);
  const [errors, [status]] = await Promise.all([text(stderr), once(child, 'close')]);
  assert.equal(status, 1);
  assert.equal(
    errors,
    `kiln: The VM image is made as root, once: sudo env "PATH=$PATH" KILN_CACHE_DIR=${home}/empty KILN_IMAGE_SOURCES=packages sh scripts/run.sh scripts/make-image.ts\nOr set BUILDKIT_HOST to a buildkitd that you may use, or copy what the target vm of images/Dockerfile made elsewhere to ${home}/empty/given/buildkit-v0.20.2.\n`,
  );
});

test('who is not root serves builds with the image that root made, and leaves nothing running', async () => {
  const child = start();
  const { stdout, stderr } = child;
  assert.ok(stdout && stderr);
  const errors = text(stderr);
  const closed = once(child, 'close');
  let httpUrl = '';
  for await (const line of createInterface({ input: stdout })) {
    httpUrl = /ready {2}HTTP on (\S+),/.exec(line)?.[1] ?? '';
    if (httpUrl !== '') break;
  }
  assert.notEqual(httpUrl, '', httpUrl === '' ? await errors : '');
  stdout.resume();
  await waitUntilReady({ httpUrl });
  await using context = await createContext({ Dockerfile: 'FROM scratch\nCOPY a /\n', a: 'hello' });
  const { exit, body } = await curl(
    '-F',
    `context=@${context.archive}`,
    '-F',
    'output=oci',
    `${httpUrl}/build`,
  );
  assert.equal(exit, 0, body);
  child.kill('SIGTERM');
  assert.deepEqual(await closed, [0, null]);
  assert.deepEqual(await readdir(join(home, '.local/share/kiln/vms')), []);
});
