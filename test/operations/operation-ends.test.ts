import assert from 'node:assert/strict';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { localAdmin } from '../../src/model/caller.ts';
import { rebuildSchema } from '../../src/model/operation.ts';
import { readOperation } from '../../src/operations/operation-journal.ts';
import { createSmallDisk, fillDisk } from '../small-disk.ts';
import { openOperations } from './open-operations.ts';
import { simulateHouse } from './simulated-house.ts';

const asked = rebuildSchema.parse({ entry: 'v0.20.2' });

test('an operation that finds the disk full has its end once there is room: record, steps, log and events', async () => {
  await using disk = await createSmallDisk(2);
  const house = simulateHouse({ fail: 'makeCtr' });
  await using opened = await openOperations(house, disk.path);
  const { operations } = opened;
  const release = house.hold();
  const { id } = await operations.rebuild(localAdmin, asked);
  const range = { offset: 0, follow: true, signal: AbortSignal.timeout(60_000) };
  const following = Array.fromAsync(await operations.events(localAdmin, id, range));
  const ballast = join(disk.path, 'ballast');
  await fillDisk(ballast);
  release();
  await new Promise((resolve) => setTimeout(resolve, 500));
  await rm(ballast);
  const events = await following;
  assert.equal(events.filter(({ event }) => event.type === 'verdict').length, 1);
  assert.equal(events.at(-1)?.event.type, 'verdict');
  const ended = await operations.get(localAdmin, id);
  assert.deepEqual([ended.state, ended.verdict?.message], ['failed', 'makeCtr failed']);
  assert.ok(ended.steps.every(({ state }) => state !== 'running'));
});

test('a service that stops while the disk is full lets go of whoever follows', async () => {
  await using disk = await createSmallDisk(2);
  const house = simulateHouse({ fail: 'makeCtr' });
  await using opened = await openOperations(house, disk.path);
  const { operations, directory } = opened;
  const release = house.hold();
  const { id } = await operations.rebuild(localAdmin, asked);
  const range = { offset: 0, follow: true, signal: AbortSignal.timeout(60_000) };
  const following = Array.fromAsync(await operations.events(localAdmin, id, range));
  await fillDisk(join(disk.path, 'ballast'));
  release();
  await operations.close();
  assert.ok((await following).every(({ event }) => event.type !== 'verdict'));
  assert.equal((await readOperation(join(directory, id))).state, 'running');
});

test('the end of the service waits for what is just being begun, and for a roll back', async () => {
  const house = simulateHouse();
  await using opened = await openOperations(house);
  const { operations, directory } = opened;
  house.hold();
  const begun = operations.rebuild(localAdmin, asked);
  await operations.close();
  await assert.rejects(begun, { code: 'DRAINING' });
  assert.deepEqual(await readdir(directory), []);

  let over = false;
  const slow = {
    ...house,
    rollBack: () =>
      new Promise<never>((_, reject) =>
        setTimeout(() => {
          over = true;
          reject(new Error('It was ended.'));
        }, 300),
      ),
  };
  await using other = await openOperations(slow);
  const back = other.operations.rollBack(localAdmin, 'v0.20.2').catch(() => undefined);
  await other.operations.close();
  assert.ok(over);
  await back;
});

test('the log of the service tells what changed the images, and for whom', async () => {
  await using opened = await openOperations();
  const { operations, logger } = opened;
  const { id } = await operations.rebuild(localAdmin, asked);
  const range = { offset: 0, follow: true, signal: AbortSignal.timeout(60_000) };
  for await (const _event of await operations.events(localAdmin, id, range));
  await operations.rollBack(localAdmin, 'v0.20.2');
  await operations.prune(localAdmin, { dryRun: false });
  await operations.prune(localAdmin, { dryRun: true });
  await operations.close();
  assert.deepEqual(logger.said.map(({ message }) => message).toSorted(), [
    'an operation begins',
    'an operation ended',
    'builds run on another image after a roll back',
    'old images were removed',
  ]);
});
