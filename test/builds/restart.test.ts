import assert from 'node:assert/strict';
import { readdir, readFile, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Builds } from '../../src/model/builds.ts';
import { localAdmin } from '../../src/model/caller.ts';
import { type BuildSpecInput, parseSpec } from '../../src/model/spec.ts';
import { inChunks } from '../context/staging.ts';
import { file, tar } from '../context/tar.ts';
import { createFolder } from '../store/harness.ts';
import { startDurable } from './durable-service.ts';
import type { Script } from './simulated-vms.ts';

const { signal } = new AbortController();
const all = { logOffset: 0, eventOffset: 0, follow: true, signal };

const hang: Script = (guest) => guest.log('#1 first\n');
const succeed: Script = (guest) => {
  guest.log('#1 again\n');
  guest.end();
};

async function start(builds: Builds, spec: BuildSpecInput = {}): Promise<string> {
  const request = { spec: parseSpec(spec), context: null, dockerfile: Buffer.from('FROM scratch\n') };
  return (await builds.start(localAdmin, request)).id;
}

/** What whoever follows it is told until it ends, in words. */
async function follow(builds: Builds, id: string): Promise<string[]> {
  const items = await Array.fromAsync(await builds.watch(localAdmin, id, all));
  return items.flatMap((item) => {
    if (item.kind === 'log') return [item.data.toString().trim()];
    const { event } = item;
    if (event.type === 'queued') return [];
    return [
      event.type === 'state' ? event.state : event.type === 'verdict' ? event.verdict.state : event.type,
    ];
  });
}

test('builds that waited run after the next start in their order, those that ran before them once more; none is run a third time (simulated VMs)', async () => {
  await using folder = await createFolder();
  const first = await startDurable(folder.path, { script: hang, vms: 1 });
  const ran = await start(first.builds);
  await waitForAttempt(first.builds, ran, 1);
  const waited = [await start(first.builds), await start(first.builds), await start(first.builds)];
  const told = follow(first.builds, waited[0] ?? '');
  const client = first.builds.attend(localAdmin, waited[0] ?? '');
  await first.stop();
  assert.deepEqual(await told, ['queued', 'paused'], 'its follower is let go, with a word');
  await client[Symbol.asyncDispose]();

  const second = await startDurable(folder.path, { script: succeed, vms: 1, limit: 0 });
  const said = await follow(second.builds, ran);
  assert.deepEqual(
    said.filter((word) => !word.startsWith('#')),
    ['queued', 'running', 'paused', 'attempt', 'queued', 'running', 'succeeded'],
  );
  assert.ok(said.indexOf('#1 first') < said.indexOf('attempt'));
  assert.ok(said.indexOf('#1 again') > said.indexOf('attempt'));
  for (const id of waited) {
    const events = (await follow(second.builds, id)).filter((word) => !word.startsWith('#'));
    assert.deepEqual(events, ['queued', 'paused', 'running', 'succeeded']);
  }
  const records = await Promise.all([ran, ...waited].map((id) => second.builds.get(localAdmin, id)));
  const ended = records.map(({ times }) => times.finished ?? '');
  assert.deepEqual(ended, ended.toSorted());
  assert.deepEqual(
    records[0]?.attempts.map(({ error }) => error?.code ?? null),
    ['INFRA', null],
  );
  const log = async (range: object): Promise<string> => {
    const read = { offset: 0, follow: false, signal, ...range };
    return Buffer.concat(
      await Array.fromAsync(await second.builds.readLog(localAdmin, ran, read)),
    ).toString();
  };
  assert.equal(await log({}), '#1 again\n');
  assert.equal(await log({ attempt: 1 }), '#1 first\n');
  // A follower hears the verdict a moment before that.
  await second.stop();
  for (const id of [ran, ...waited])
    assert.ok(!(await readdir(join(second.buildsDirectory, id))).includes('input'), 'its input is gone');
});

test('a build that ran twice, or is to run at most once, ends as interrupted, once (simulated VMs)', async () => {
  await using folder = await createFolder();
  const first = await startDurable(folder.path, { script: hang });
  const [twice, once] = [await start(first.builds), await start(first.builds, { retry: 'never' })];
  for (const id of [twice, once]) await waitForAttempt(first.builds, id, 1);
  await first.stop();
  const second = await startDurable(folder.path, { script: hang });
  await waitForAttempt(second.builds, twice, 2);
  assert.equal((await follow(second.builds, once)).at(-1), 'interrupted');
  await second.stop();
  const third = await startDurable(folder.path, { script: succeed });
  const said = await follow(third.builds, twice);
  assert.deepEqual(
    said.filter((word) => word === 'interrupted' || word === 'attempt'),
    ['attempt', 'interrupted'],
  );
  await third.stop();
});

async function waitForAttempt(builds: Builds, id: string, attempt: number): Promise<void> {
  for await (const item of await builds.watch(localAdmin, id, all))
    if (item.kind === 'log' && item.attempt === attempt) return;
}

test('what a matrix was asked is on the disk once, and the staged image is gone, before anybody hears of it (simulated VMs)', async () => {
  await using folder = await createFolder();
  const service = await startDurable(folder.path, { script: hang, vms: 1 });
  const { builds, buildsDirectory, stagingDirectory } = service;
  const context = await builds.stageContexts(localAdmin, signal);
  await context.add(null, { bytes: inChunks(tar(file('Dockerfile', 'FROM scratch\n'))), declared: null });
  const { id } = await builds.start(localAdmin, { spec: parseSpec({}), context, dockerfile: null });
  assert.deepEqual(await readdir(stagingDirectory), []);
  const input = join(buildsDirectory, id, 'input');
  assert.deepEqual((await readdir(input)).sort(), ['asked.json', 'context.erofs']);
  assert.ok((await stat(join(input, 'context.erofs'))).size > 0);
  assert.deepEqual(JSON.parse(await readFile(join(input, 'asked.json'), 'utf8')), {
    context: { directory: 'context', named: [] },
    sources: {},
    hasDockerfile: false,
  });
  await builds.cancel(localAdmin, id, 'Enough.');
  assert.ok(!(await readdir(join(buildsDirectory, id))).includes('input'));
  await service.stop();
});

test('the time that an attempt took before the service died counts (simulated VMs)', async () => {
  await using folder = await createFolder();
  const first = await startDurable(folder.path, { script: hang });
  const id = await start(first.builds, { timeoutSeconds: 600 });
  await waitForAttempt(first.builds, id, 1);
  await first.stop();
  // It said its last word ten minutes after it had begun.
  const later = Date.now() / 1000 + 600;
  await utimes(join(folder.path, 'builds', id, 'log'), later, later);
  const second = await startDurable(folder.path, { script: hang });
  assert.equal((await follow(second.builds, id)).at(-1), 'failed');
  const { verdict, attempts } = await second.builds.get(localAdmin, id);
  assert.equal(verdict?.code, 'TIMEOUT');
  assert.ok((attempts[0]?.seconds ?? 0) >= 600);
  await second.stop();
});
