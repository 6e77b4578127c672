import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryBudget, SharedMemory } from '../../src/context/memory-budget.ts';
import { accept, inChunks, refuseWith, type StagedContext, Staging, stageContext } from './staging.ts';
import { file, folder, gnuLong, hardlink, raw, symlink, tar, withXattr } from './tar.ts';
import { zip } from './zip.ts';

const masses: readonly (readonly [what: string, count: number, member: (index: number) => Buffer])[] = [
  ['names', 8300, (index) => longName(index)],
  ['names of Unicode', 8300, (index) => longName(index, 'ü')],
  [
    'link targets',
    8300,
    (index) => Buffer.concat([gnuLong('K', 't'.repeat(4090)), raw(symlink(`${index}`, 'x'))]),
  ],
  ['extended attributes', 560, (index) => withXattr(`${index}`, 60_000)],
];
for (const [what, count, member] of masses) {
  test(`${what} that no context needs in such a mass are refused before they fill the memory`, async () => {
    const error = await refuseWith(
      'ARCHIVE_TOO_LARGE',
      tar(...Array.from({ length: count }, (_, i) => member(i))),
    );
    assert.equal(error.details.limit, 32 * 1024 * 1024);
  });
}

test('names that have their folders in common count once', async () => {
  const folder = `${'n'.repeat(254)}/`.repeat(15);
  const members = Array.from({ length: 9000 }, (_, index) =>
    Buffer.concat([gnuLong('L', `${folder}${index}`), raw(file('x'))]),
  );
  assert.equal((await accept(tar(...members))).entries, 9000);
});

/** Stages archives one after the other, all with the same memory. */
function stageInto(
  memory: SharedMemory,
  { directory }: Staging,
): (archive: Buffer) => Promise<StagedContext> {
  const { signal } = new AbortController();
  const limits = { maxBytes: 1e7, maxUploadBytes: 1e7, maxEntries: 1000 };
  const options = { directory, minFreeBytes: 0, memory, signal, limits };
  return (archive) => stageContext({ bytes: inChunks(archive), declared: null }, options);
}

test('archives that are taken at once share their memory; one that finds none is told to come again, and gives back what it took', async () => {
  await using staging = await Staging.create();
  const stageArchive = stageInto(new SharedMemory(2000), staging);
  const stage = (...names: readonly string[]) => stageArchive(tar(...names.map((name) => file(name))));
  const name = (letter: string): string => letter.repeat(90);
  const half = ['a', 'b', 'c', 'd', 'e', 'f'].map(name);
  {
    await using _first = await stage(...half);
    for (let attempt = 0; attempt < 3; attempt += 1) {
      const full = { code: 'NO_CAPACITY', details: { retryAfterSeconds: 10 } };
      await assert.rejects(stage(...half), full);
    }
  }
  const second = await stage(...half);
  await using _sealed = await second.seal({ dockerfile: null }, { customFrontends: true });
  await using _third = await stage(...half);
});

const numbers = Array.from({ length: 1000 }, (_, index) => `${index}`);
const shortNames: Record<string, Buffer> = {
  'empty files': tar(...numbers.map((name) => file(name, ''))),
  folders: tar(...numbers.map((name) => folder(name))),
  'repeats of one folder': tar(...numbers.map(() => folder('x'))),
  'hard links': tar(file('x', ''), ...numbers.slice(1).map((name) => hardlink(name, 'x'))),
};
for (const [what, archive] of Object.entries(shortNames)) {
  test(`what ${what} take beside their names counts for all archives together`, async () => {
    await using staging = await Staging.create();
    const stage = stageInto(new SharedMemory(100_000), staging);
    await assert.rejects(stage(archive), { code: 'NO_CAPACITY' });
    await using _small = await stage(tar(file('x')));
  });
}

test('folders that only the names of others tell of count, too', async () => {
  await using staging = await Staging.create();
  const stage = stageInto(new SharedMemory(300_000), staging);
  {
    await using _flat = await stage(tar(...numbers.map((name) => file(name, ''))));
  }
  await assert.rejects(stage(tar(...numbers.map((name) => file(`${name}/x`, '')))), { code: 'NO_CAPACITY' });
});

test('the list of what is in a zip counts while the zip is read', async () => {
  await using staging = await Staging.create();
  const stage = stageInto(new SharedMemory(300_000), staging);
  await assert.rejects(stage(zip(numbers.map((name) => ({ name })))), { code: 'NO_CAPACITY' });
  assert.deepEqual(await staging.files(), []);
});

test('there is room for one archive with as many members as it may have, however many that are', async () => {
  await using staging = await Staging.create();
  const maxEntries = 1_000_000;
  const memory = SharedMemory.forArchivesOf(maxEntries);
  const budget = new MemoryBudget(memory);
  for (let member = 0; member < maxEntries; member += 1) {
    budget.takeFor('listedInZip');
    budget.takeFor('directory');
    budget.takeFor('directory');
  }
  budget.take(32 * 1024 * 1024);
  await using _other = await stageInto(memory, staging)(tar(file('x')));
});

/** Of 4095 bytes in 16 parts, which no other has. */
function longName(index: number, filler = 'n'): Buffer {
  const part = `${index}-`.padEnd(8, '-') + filler.repeat(Math.floor(246 / Buffer.byteLength(filler)));
  return Buffer.concat([gnuLong('L', Array(16).fill(part).join('/')), raw(file('x'))]);
}
