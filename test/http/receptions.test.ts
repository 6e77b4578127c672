import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Receptions } from '../../src/builds/receptions.ts';
import { archive, ask, assertProblem, type Harness, open, serve, waitFor } from './harness.ts';

const maxAtOnce = 128;
const head = 'POST /build HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-tar\r\n';

/** An upload whose client was asked for the body, and sends none. */
async function beginUpload(harness: Harness): Promise<Socket> {
  const socket = await open(harness, `${head}Expect: 100-continue\r\nContent-Length: 10000\r\n\r\n`);
  const [answer] = await once(socket, 'data');
  assert.match(String(answer), /^HTTP\/1\.1 100 /);
  return socket;
}

test('more uploads at once than kiln has memory for are refused before they are read, until one of those before them is over', async () => {
  await using harness = await serve();
  const uploads = await Promise.all(Array.from({ length: maxAtOnce }, () => beginUpload(harness)));
  const post = () => harness.api.post('/build').set('Content-Type', 'application/x-tar').send(archive);

  const refused = await post();
  assertProblem(refused, 503, 'NO_CAPACITY');
  assert.equal(refused.headers['retry-after'], '10');
  assert.match(await ask(harness, `${head}Content-Length: 10000\r\n\r\n`), /^HTTP\/1\.1 503 /);

  uploads[0]?.destroy();
  let answer = await post();
  for (; answer.status === 503; answer = await post()) await sleep(10);
  assert.equal(answer.status, 200);
  // Whoever follows a build is no upload any more.
  assert.equal((await post()).status, 200);
  for (const upload of uploads) upload.destroy();
});

test('an upload that crawls gives way to one more: it gets 408, and leaves nothing', async () => {
  const receptions = new Receptions({ maxAtOnce: 1, graceMs: 50 });
  await using harness = await serve({
    overrides: { receive: (_caller, progress) => receptions.enter(progress) },
  });
  const crawling = await open(harness, `${head}Content-Length: 10000\r\n\r\n`);
  crawling.write(archive.subarray(0, 600));
  const told = once(crawling, 'data');
  await waitFor(async () => (await harness.staged()).length === 1, 'the upload is being staged');
  await sleep(60);
  await harness.api.post('/build').set('Content-Type', 'application/x-tar').send(archive).expect(200);
  assert.match(String(await told), /^HTTP\/1\.1 408 [\s\S]*"code":"UPLOAD_TIMEOUT".*as many as there may be/);
  crawling.destroy();
  await waitFor(async () => (await harness.staged()).length === 1, 'only the other is left');
});
