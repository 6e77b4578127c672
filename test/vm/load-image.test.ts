import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, open, readdir, readlink, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { connectDocker } from '../../src/vm/docker/engine.ts';
import { loadImage, requireImage } from '../../src/vm/docker/load-image.ts';
import { listen } from '../listen.ts';

async function isOpen(path: string): Promise<boolean> {
  const names = await readdir('/proc/self/fd');
  const files = await Promise.all(names.map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => '')));
  return files.includes(path);
}

test('a load that is cancelled leaves the tar closed (simulated engine)', async () => {
  await using undo = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'kiln-load-'));
  undo.defer(() => rm(folder, { recursive: true }));
  const tar = join(folder, 'image.tar');
  {
    await using file = await open(tar, 'w');
    await file.truncate(256 * 1024 * 1024);
  }
  const server = createServer((request, response) => {
    // An engine that hangs in the middle of a load: it takes nothing.
    if (request.method === 'POST') return;
    response.writeHead(404, { 'Content-Type': 'application/json' }).end('{"message":"No such image"}');
  });
  const { port } = undo.use(await listen(server));
  const engine = await connectDocker({ host: `tcp://127.0.0.1:${port}`, certificates: null });
  const cancel = new AbortController();
  const loading = loadImage(engine, { reference: 'kiln/dqd:x', tar }, cancel.signal);
  const refused = assert.rejects(loading, { message: 'Enough.' });
  await once(server, 'request');
  while (!(await isOpen(tar))) await sleep(20);
  cancel.abort(new Error('Enough.'));
  await refused;
  for (let tries = 0; tries < 100 && (await isOpen(tar)); tries += 1) await sleep(20);
  assert.ok(!(await isOpen(tar)));
});

test('an image that the engine must have is known by its id; one that it has not is named with what brings it (simulated engine)', async () => {
  await using undo = new AsyncDisposableStack();
  const server = createServer(({ url }, response) => {
    const known = url === '/images/kiln%2Farchive%3A1/json' || url === '/images/kiln/archive:1/json';
    response.writeHead(known ? 200 : 404, { 'Content-Type': 'application/json' });
    response.end(known ? '{"Id":"sha256:abc"}' : '{"message":"No such image"}');
  });
  const { port } = undo.use(await listen(server));
  const engine = await connectDocker({ host: `tcp://127.0.0.1:${port}`, certificates: null });
  const { signal } = new AbortController();
  assert.equal(await requireImage(engine, 'kiln/archive:1', signal), 'sha256:abc');
  await assert.rejects(requireImage(engine, 'kiln/archive:2', signal), {
    code: 'CONFIG_INVALID',
    message:
      'The Docker engine has no image kiln/archive:2, which KILN_DQD_IMAGES names: docker pull kiln/archive:2',
  });
});
