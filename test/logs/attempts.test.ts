import assert from 'node:assert/strict';
import { appendFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  addAttempt,
  appendEvent,
  type BuildFiles,
  createBuildFiles,
  openBuildFiles,
  reopenBuildFiles,
} from '../../src/logs/build-files.ts';
import { logOfAttempt, watchBuildFiles } from '../../src/logs/watch-files.ts';
import type { BuildEvent, WatchItem } from '../../src/model/event.ts';
import { at, collect, createFolder, verdictEvent, warningEvent } from './harness.ts';

const { signal } = new AbortController();
const fromStart = { logOffset: 0, eventOffset: 0, follow: true, signal };
const second: BuildEvent = { at, type: 'attempt', attempt: 2, code: 'INFRA', message: 'lost' };

function describe(item: WatchItem): string {
  if (item.kind === 'event') return item.event.type;
  return `${item.attempt}@${item.offset} ${item.data.toString()}`;
}

/** A build of two attempts, that has ended. */
async function twoAttempts(directory: string): Promise<BuildFiles> {
  const first = await createBuildFiles(directory);
  await first.log.append(Buffer.from('one'));
  const files = await addAttempt(directory, first);
  await appendEvent(files, second);
  await files.log.append(Buffer.from('another'));
  await files.log.end();
  await appendEvent(files, verdictEvent);
  await files.events.end();
  return files;
}

test('whoever follows a build gets the log of each attempt, and between them the event that begins the next', async () => {
  await using folder = await createFolder();
  const directory = join(folder.path, 'build');
  let files = await createBuildFiles(directory);
  const watching = collect(await watchBuildFiles(files, fromStart, () => files));
  await files.log.append(Buffer.from('one'));
  await appendEvent(files, warningEvent('w'));
  const first = files;
  files = await addAttempt(directory, files);
  await appendEvent(files, second);
  assert.equal(first.log.size, 3);
  await files.log.append(Buffer.from('another'));
  await files.log.end();
  await appendEvent(files, verdictEvent);
  await files.events.end();
  const said = (await watching).map(describe);
  assert.deepEqual(
    said.filter((item) => item !== 'warning'),
    ['1@0 one', 'attempt', '2@0 another', 'verdict'],
  );
  assert.ok(said.indexOf('warning') < said.indexOf('attempt'));
});

test('the logs of a build that has ended are read whole, or from one attempt and offset on', async () => {
  await using folder = await createFolder();
  const directory = join(folder.path, 'build');
  await twoAttempts(directory);
  const files = await openBuildFiles(directory);
  const watch = async (range: object): Promise<string[]> =>
    (await collect(await watchBuildFiles(files, { ...fromStart, ...range }))).map(describe);
  assert.deepEqual(await watch({}), ['1@0 one', 'attempt', '2@0 another', 'verdict']);
  assert.deepEqual(await watch({ attempt: 1, logOffset: 2 }), ['1@2 e', 'attempt', '2@0 another', 'verdict']);
  assert.deepEqual((await watch({ attempt: 2, logOffset: 4 })).sort(), ['2@4 her', 'attempt', 'verdict']);
  // As if the event of the second attempt had been read before.
  const past = `${JSON.stringify(second)}\n`.length;
  assert.deepEqual(await watch({ eventOffset: past }), ['1@0 one', '2@0 another', 'verdict']);
});

test('an offset never mixes two attempts: without an attempt it is refused where there were several', async () => {
  await using folder = await createFolder();
  const files = await twoAttempts(join(folder.path, 'build'));
  assert.equal(logOfAttempt(files, { offset: 0 }), files.log);
  assert.equal(logOfAttempt(files, { attempt: 1, offset: 2 }), files.earlier[0]);
  assert.throws(() => logOfAttempt(files, { offset: 1 }), { code: 'OFFSET_INVALID', message: /2 attempts/ });
  assert.throws(() => logOfAttempt(files, { attempt: 3, offset: 0 }), { code: 'NOT_FOUND' });
  await assert.rejects(watchBuildFiles(files, { ...fromStart, logOffset: 1 }), { code: 'OFFSET_INVALID' });
  const one = await createBuildFiles(join(folder.path, 'other'));
  assert.equal(logOfAttempt(one, { offset: 1 }), one.log);
  await Promise.all([one.log.end(), one.events.end()]);
});

test('what an earlier run left is written on: its attempt begins anew, and half an event is gone', async () => {
  await using folder = await createFolder();
  const directory = join(folder.path, 'build');
  const died = await createBuildFiles(directory);
  await died.log.append(Buffer.from('one'));
  await appendEvent(died, warningEvent('w'));
  await Promise.all([died.log.end(), died.events.end()]);
  await appendFile(join(directory, 'events.ndjson'), '{"at":"20');
  await writeFile(join(directory, 'log.2'), 'of a start that died, too');
  const files = await reopenBuildFiles(directory, 2);
  await appendEvent(files, second);
  await files.log.append(Buffer.from('another'));
  await files.log.end();
  await appendEvent(files, verdictEvent);
  await files.events.end();
  const items = await collect(await watchBuildFiles(files, fromStart));
  const said = items.map(describe);
  assert.deepEqual(said.toSorted(), ['1@0 one', '2@0 another', 'attempt', 'verdict', 'warning']);
  assert.deepEqual(said.slice(2), ['attempt', '2@0 another', 'verdict']);
});
