import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { test } from 'node:test';
import type { Builds } from '../../src/model/builds.ts';
import { type Caller, localAdmin } from '../../src/model/caller.ts';
import { type BuildSpecInput, parseSpec } from '../../src/model/spec.ts';
import { inChunks } from '../context/staging.ts';
import { file, tar } from '../context/tar.ts';
import { createFolder } from '../store/harness.ts';
import { briefly } from './briefly.ts';
import { startDurable } from './durable-service.ts';

const { signal } = new AbortController();
const idempotencyKey = '8e03978e-40d5-43dd-bc93-6894a57f9324';

async function send(
  builds: Builds,
  {
    spec = {},
    text = 'hello',
    caller = localAdmin,
  }: { spec?: BuildSpecInput; text?: string; caller?: Caller } = {},
): Promise<string> {
  const context = await builds.stageContexts(caller, signal);
  const archive = tar(file('Dockerfile', 'FROM scratch\nCOPY a /\n'), file('a', text));
  await context.add(null, { bytes: inChunks(archive), declared: null });
  const request = { spec: parseSpec(spec), context, dockerfile: null, idempotencyKey };
  return (await builds.start(caller, request)).id;
}

test('a hundred requests with one key are one build, also those after a restart; another body is refused (simulated VMs)', async () => {
  await using folder = await createFolder();
  const first = await startDurable(folder.path, { script: briefly });
  const ids = await Promise.all(
    Array.from({ length: 100 }, () => send(first.builds, { spec: { buildArgs: { A: '1', B: '2' } } })),
  );
  assert.equal(new Set(ids).size, 1);
  await first.stop();

  const second = await startDurable(folder.path, { script: briefly });
  const { builds, buildsDirectory, stagingDirectory } = second;
  assert.equal(await send(builds, { spec: { buildArgs: { B: '2', A: '1' } } }), ids[0]);
  const refused = { code: 'IDEMPOTENCY_KEY_REUSED' };
  await assert.rejects(send(builds), refused, 'another spec');
  await assert.rejects(send(builds, { spec: { buildArgs: { A: '1', B: '2' } }, text: 'other' }), refused);
  assert.deepEqual(await readdir(buildsDirectory), [ids[0]]);
  assert.deepEqual(await readdir(stagingDirectory), []);
  const other = await send(builds, { caller: { tenant: 'other', role: 'build' } });
  assert.notEqual(other, ids[0], "a key is its tenant's alone");
  await second.stop();
});

test('a matrix is one by its key, too (simulated VMs)', async () => {
  await using folder = await createFolder();
  const { builds, store, stop } = await startDurable(folder.path, { script: briefly });
  const dockerfile = Buffer.from('FROM scratch\n');
  const request = { spec: parseSpec({}), context: null, dockerfile, idempotencyKey };
  const entries = ['buildkit-v0.20.2'];
  const first = await builds.startMatrix(localAdmin, { ...request, entries });
  const again = await builds.startMatrix(localAdmin, { ...request, entries });
  assert.equal(again.id, first.id);
  await assert.rejects(builds.start(localAdmin, request), { code: 'IDEMPOTENCY_KEY_REUSED' });
  assert.equal((await store.list({ tenant: null, limit: 10 })).builds.length, 1);
  await stop();
});

test('a key is forgotten after a day, and with the record of its build (simulated VMs)', async () => {
  await using folder = await createFolder();
  const { builds, store, stop } = await startDurable(folder.path, { script: briefly });
  const id = await send(builds);
  const claim = { ...{ tenant: 'default', key: idempotencyKey, hash: '' }, at: '', since: '1970' };
  assert.deepEqual(
    (await store.findClaimed(claim))?.builds.map((build) => build.id),
    [id],
  );
  assert.equal(await store.findClaimed({ ...claim, since: '9999' }), null);
  for await (const _item of await builds.events(localAdmin, id, { offset: 0, follow: true, signal }));
  await store.markRemoved([id], '2026-01-02T03:04:05.678Z');
  await store.forget(0);
  assert.equal(await store.findClaimed(claim), null);
  assert.notEqual(await send(builds, { text: 'other' }), id);
  await stop();
});

test('a request is the same in whatever order its named contexts come (simulated VMs)', async () => {
  await using folder = await createFolder();
  const { builds, stop } = await startDurable(folder.path, { script: briefly });
  const sendNamed = async (names: readonly string[], text = ''): Promise<string> => {
    const context = await builds.stageContexts(localAdmin, signal);
    for (const name of names)
      await context.add(name, { bytes: inChunks(tar(file('a', `${name}${text}`))), declared: null });
    const dockerfile = Buffer.from('FROM scratch\n');
    return (await builds.start(localAdmin, { spec: parseSpec({}), context, dockerfile, idempotencyKey })).id;
  };
  const id = await sendNamed(['lib', 'base']);
  assert.equal(await sendNamed(['base', 'lib']), id);
  await assert.rejects(sendNamed(['base', 'lib'], 'other'), { code: 'IDEMPOTENCY_KEY_REUSED' });
  await stop();
});
