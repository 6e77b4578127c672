import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SharedMemory } from '../../src/context/memory-budget.ts';
import { stageContext } from '../../src/context/stage-context.ts';
import { accept, inChunks, refuseWith, Staging } from './staging.ts';
import { file, gnuLong, raw, symlink, tar, withXattr } from './tar.ts';

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

test('archives that are taken at once share their memory; one that finds none is told to come again, and gives back what it took', async () => {
  await using staging = await Staging.create();
  const memory = new SharedMemory(1024);
  const { signal } = new AbortController();
  const stage = (...names: readonly string[]) =>
    stageContext(
      { bytes: inChunks(tar(...names.map((name) => file(name)))), declared: null },
      {
        ...{ directory: staging.directory, minFreeBytes: 0, memory, signal },
        limits: { maxBytes: 1e6, maxUploadBytes: 1e6, maxEntries: 1000 },
      },
    );
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

/** Of 4095 bytes in 16 parts, which no other has. */
function longName(index: number, filler = 'n'): Buffer {
  const part = `${index}-`.padEnd(8, '-') + filler.repeat(Math.floor(246 / Buffer.byteLength(filler)));
  return Buffer.concat([gnuLong('L', Array(16).fill(part).join('/')), raw(file('x'))]);
}
