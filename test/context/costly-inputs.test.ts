import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkDockerignore } from '../../src/context/dockerfile/dockerignore.ts';
import { Staging } from './staging.ts';
import { file, folder, oldSparse, pax, type RawMember, raw, tar } from './tar.ts';
import { zip } from './zip.ts';

/**
 * Small uploads made to take long: all of this runs where every other request of the service is answered. Each took many times
 * what is allowed here, which is many times what it takes.
 */
async function milliseconds(work: () => unknown): Promise<number> {
  const start = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(start);
  return (user + system) / 1000;
}

test("a sparse map of GNU's oldest form takes no longer than the same map of another form", async () => {
  const map = Array.from({ length: 32_000 }, (_, part) => [2 * part, 1]).flat();
  const data = 'x'.repeat(32_000);
  const stage = async (archive: Buffer): Promise<void> => {
    await using staging = await Staging.create();
    await using _staged = await staging.stage(archive);
  };
  const old = tar(oldSparse('a', { realSize: 64_000, map, data }));
  const records = {
    'GNU.sparse.size': '64000',
    'GNU.sparse.numblocks': '32000',
    'GNU.sparse.map': map.join(),
  };
  const other = tar(pax(records), raw(file('a', data)));
  await stage(other);
  const usual = await milliseconds(() => stage(other));
  const taken = await milliseconds(() => stage(old));
  assert.ok(taken < 4 * usual + 50, `${taken} ms, against ${usual} ms`);
});

test('a zip of small files is read in a few times of what it takes to make it', async () => {
  const make = (): Buffer =>
    zip(Array.from({ length: 10_000 }, (_, index) => ({ name: `d/${index}`, content: 'text '.repeat(200) })));
  const upload = make();
  const usual = await milliseconds(make);
  await using staging = await Staging.create();
  const taken = await milliseconds(async () => (await staging.stage(upload))[Symbol.asyncDispose]());
  assert.ok(taken < 4 * usual, `${taken} ms, against ${usual} ms`);
});

for (const line of [
  '../'.repeat(20_000),
  `!${'/../'.repeat(15_000)}a`,
  'a/../'.repeat(10_000),
  './'.repeat(30_000),
]) {
  test(`a .dockerignore of lines like ${line.slice(0, 10)}… is checked at once`, async () => {
    const lines = Buffer.from(`${line}\n`.repeat(17));
    const taken = await milliseconds(() => checkDockerignore(lines));
    assert.ok(taken < 800, `${taken} ms`);
  });
}

test('a path that goes in and out of a folder costs nothing more where a Dockerfile is missed in every folder', async () => {
  const folders = Array.from({ length: 20_000 }, (_, index): RawMember => folder(`f${index}/a/`));
  await using staging = await Staging.create();
  await using staged = await staging.stage(tar(...folders));
  const taken = await milliseconds(() =>
    assert.rejects(staged.seal({ dockerfile: `${'a/../'.repeat(800)}D` }, { customFrontends: false }), {
      code: 'DOCKERFILE_MISSING',
    }),
  );
  assert.ok(taken < 800, `${taken} ms`);
});
