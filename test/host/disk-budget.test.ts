import assert from 'node:assert/strict';
import { once } from 'node:events';
import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { DiskBudget, describeSmallDisk, type Room } from '../../src/host/disk-budget.ts';
import { KilnError } from '../../src/model/error.ts';
import { createSmallDisk } from '../small-disk.ts';

const MiB = 1024 * 1024;
const keepFreeBytes = 40 * MiB;
const { signal } = new AbortController();

/** A file system of 240 MiB, of which 200 are to be had. */
async function createBudget(): Promise<AsyncDisposable & { path: string; budget: DiskBudget }> {
  const disk = await createSmallDisk(240);
  return { ...disk, budget: new DiskBudget({ directory: disk.path, keepFreeBytes }) };
}

test('who does not fit has old files go first, once, and is neither refused nor kept waiting where that makes room', async () => {
  await using disk = await createSmallDisk(240);
  const old = join(disk.path, 'old');
  await write(old, 190);
  let asked = 0;
  const makeRoom = async (): Promise<void> => {
    asked += 1;
    await rm(old, { force: true });
  };
  const budget = new DiskBudget({ directory: disk.path, keepFreeBytes, makeRoom });
  using room = await budget.reserve(150 * MiB, signal);
  assert.deepEqual([room.bytes, asked], [150 * MiB, 1]);
  const abort = new AbortController();
  const waits = budget.reserve(150 * MiB, abort.signal);
  // It looks at the disk first, however long that takes.
  while (asked < 2) await turn();
  assert.ok(await isWaiting(waits));
  assert.equal(asked, 2);
  abort.abort();
  await assert.rejects(waits);
});

async function write(path: string, mebibytes: number): Promise<void> {
  await using file = await open(path, 'w');
  for (let written = 0; written < mebibytes; written += 1) await file.write(Buffer.alloc(MiB, 1));
}

/** Whether a promise is still open after the budget had time to look at the disk. */
async function isWaiting(promise: Promise<Room>): Promise<boolean> {
  let waiting = true;
  void promise.then(
    () => (waiting = false),
    () => (waiting = false),
  );
  for (let round = 0; round < 100; round += 1) await turn();
  return waiting;
}

test('who fits goes on at once; who does not waits, and nobody overtakes it', async () => {
  await using disk = await createBudget();
  const { budget } = disk;
  const first = await budget.reserve(80 * MiB, signal);
  const second = await budget.reserve(80 * MiB, signal);
  const third = budget.reserve(90 * MiB, signal);
  const small = budget.reserve(10 * MiB, signal);
  assert.ok(await isWaiting(third));
  assert.ok(await isWaiting(small), 'a small one would go first for ever');
  first[Symbol.dispose]();
  const rooms = [second, await third, await small];
  assert.deepEqual(
    rooms.map(({ bytes }) => bytes / MiB),
    [80, 90, 10],
  );
  for (const room of rooms) room[Symbol.dispose]();
  assert.ok((await budget.available()) >= 195 * MiB);
});

test('what was written already is not counted twice', async () => {
  await using disk = await createBudget();
  const { budget, path } = disk;
  const room = await budget.reserve(120 * MiB, signal);
  await write(join(path, 'overlay'), 100);
  room.count(async () => 100 * MiB);
  assert.equal(Math.round((await budget.available()) / MiB / 10) * 10, 80);
  using other = await budget.reserve(70 * MiB, signal);
  assert.equal(other.bytes, 70 * MiB);
});

test('alone on a disk that is too small one gets what there is, and the next waits', async () => {
  await using disk = await createBudget();
  const { budget } = disk;
  const describe = (mebibytes: number) => describeSmallDisk(budget, { builds: 2, bytes: mebibytes * MiB });
  assert.match((await describe(1024)) ?? '', /room for 0\.2 GiB of the 1\.0 GiB/);
  assert.match((await describe(110)) ?? '', /room for 1 at once/);
  assert.equal(await describe(90), null);
  const none = new DiskBudget({ directory: disk.path, keepFreeBytes: 1024 * MiB });
  assert.match((await describeSmallDisk(none, { builds: 1, bytes: MiB })) ?? '', /room for 0\.0 GiB/);
  const first = await budget.reserve(1024 * MiB, signal);
  assert.ok(first.bytes > 190 * MiB && first.bytes <= 200 * MiB, `${first.bytes}`);
  const next = budget.reserve(MiB, signal);
  assert.ok(await isWaiting(next));
  first[Symbol.dispose]();
  using last = await next;
  assert.equal(last.bytes, MiB);
});

test('who was given less than it asked for and uses more is told to stop', async () => {
  await using disk = await createBudget();
  using room = await disk.budget.reserve(1024 * MiB, signal);
  room.count(async () => room.bytes);
  const exceeded = once(room.exceeded, 'abort');
  assert.equal(room.exceeded.aborted, false);
  room.count(async () => room.bytes + 1);
  await exceeded;
  const { code, details } = KilnError.from(room.exceeded.reason);
  assert.deepEqual([code, details.limit], ['DISK_FULL', room.bytes]);
});

test('a full disk refuses, and serves again when there is room', async () => {
  await using disk = await createBudget();
  const { budget, path } = disk;
  await write(join(path, 'ballast'), 180);
  await assert.rejects(budget.reserve(100 * MiB, signal), { code: 'STORAGE_FULL' });
  await rm(join(path, 'ballast'));
  using room = await budget.reserve(100 * MiB, signal);
  assert.equal(room.bytes, 100 * MiB);
});

test('who gives up waiting holds nobody up and keeps no room', async () => {
  await using disk = await createBudget();
  const { budget } = disk;
  const first = await budget.reserve(150 * MiB, signal);
  const impatient = new AbortController();
  const given = budget.reserve(100 * MiB, impatient.signal);
  const small = budget.reserve(30 * MiB, signal);
  assert.ok(await isWaiting(small));
  impatient.abort(new KilnError('CANCELLED', 'not any more'));
  await assert.rejects(given, { code: 'CANCELLED' });
  using served = await small;
  assert.equal(served.bytes, 30 * MiB);
  first[Symbol.dispose]();
  await assert.rejects(budget.reserve(MiB, AbortSignal.abort(new KilnError('CANCELLED', 'at once'))), {
    code: 'CANCELLED',
  });
});
