import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { copyFile, mkdtemp, open, rename, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { SealedFiles } from '../../src/lib/sealed-files.ts';

const { signal } = new AbortController();
const MiB = 1024 * 1024;
/** Whole seconds: Node cannot put back the nanoseconds of a time. */
const someTime = 1_000_000_000;

type Files = AsyncDisposable & {
  readonly paths: readonly [string, string];
  readonly record: string;
  /** The same files, as a later process opens them. */
  reopen(): SealedFiles;
};

async function createFiles(): Promise<Files & { sealed: SealedFiles }> {
  const directory = await mkdtemp(join(tmpdir(), 'kiln-sealed-'));
  const [paths, record] = [
    [join(directory, 'a'), join(directory, 'b')] as const,
    join(directory, 'seals.json'),
  ];
  for (const path of paths) {
    await writeFile(path, Buffer.alloc(20 * MiB));
    await utimes(path, someTime, someTime);
  }
  const sealed = await SealedFiles.seal(paths, record, signal);
  return {
    ...{ paths, record, sealed },
    reopen: () => new SealedFiles(sealed.hashes, { record }),
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true }),
  };
}

/** One byte between the samples, which are 64 KiB each, 324 KiB apart; the time of the last change is put back. */
async function damageHidden(path: string): Promise<void> {
  await using file = await open(path, 'r+');
  await file.write(Buffer.from([7]), 0, 1, 200 * 1024);
  await utimes(path, someTime, someTime);
}

test('what was just sealed is checked; opened again it only looks so, until every byte is read', async () => {
  await using files = await createFiles();
  assert.equal(files.sealed.checked, true);
  const later = files.reopen();
  assert.deepEqual([await later.look(signal), later.checked], [null, false]);
  assert.deepEqual([await later.check(signal), later.checked], [null, true]);
});

test('hidden damage is found by the check, and remembered: the next look tells of it without reading', async () => {
  await using files = await createFiles();
  await damageHidden(files.paths[1]);
  const first = files.reopen();
  assert.equal(await first.look(signal), null);
  const told = `${files.paths[1]} is not what it was made as`;
  assert.deepEqual([await first.check(signal), first.checked], [told, false]);
  assert.equal(await files.reopen().look(signal), told);
});

test('a damaged file that is made good again is as before', async () => {
  await using files = await createFiles();
  await copyFile(files.paths[0], `${files.paths[0]}.good`);
  await damageHidden(files.paths[0]);
  assert.notEqual(await files.reopen().check(signal), null);
  await rename(`${files.paths[0]}.good`, files.paths[0]);
  assert.equal(await files.reopen().look(signal), null);
});

test('copies of the files, and a record that is lost or broken, cost a reading and no more', async () => {
  await using files = await createFiles();
  for (const path of files.paths) {
    await copyFile(path, `${path}.copy`);
    await rename(`${path}.copy`, path);
  }
  for (const spoil of [
    () => Promise.resolve(),
    () => rm(files.record),
    () => writeFile(files.record, '{"'),
    () => writeFile(files.record, '[1]'),
  ]) {
    await spoil();
    const opened = files.reopen();
    assert.deepEqual([await opened.look(signal), opened.checked], [null, true]);
    assert.equal(await files.reopen().look(signal), null);
  }
});

test('where nothing is remembered each look reads every byte', async () => {
  await using files = await createFiles();
  const unremembered = new SealedFiles(files.sealed.hashes, { record: null });
  assert.equal(await unremembered.look(signal), null);
  await damageHidden(files.paths[0]);
  assert.equal(await unremembered.look(signal), `${files.paths[0]} is not what it was made as`);
});

test('a file that is gone is damage, with its cause; a stopped check is none', async () => {
  await using files = await createFiles();
  await assert.rejects(files.reopen().check(AbortSignal.abort(new Error('stopped'))), /^Error: stopped$/);
  await rm(files.paths[0]);
  assert.match((await files.reopen().look(signal)) ?? '', /a cannot be read \(ENOENT: /);
});

test('a record that cannot be written stops nobody', async () => {
  await using files = await createFiles();
  const sealed = new SealedFiles(files.sealed.hashes, { record: '/proc/kiln/none.json' });
  assert.deepEqual([await sealed.look(signal), sealed.checked], [null, true]);
});

test('a process that has too many files open finds no damage: it cannot tell', async () => {
  await using files = await createFiles();
  const program = `
    const { SealedFiles } = await import(${JSON.stringify(join(import.meta.dirname, '../../src/lib/sealed-files.ts'))});
    const { openSync } = await import('node:fs');
    const sealed = new SealedFiles(${JSON.stringify(files.sealed.hashes)}, { record: null });
    try {
      for (;;) openSync('/dev/null');
    } catch {}
    sealed.look(new AbortController().signal).then(console.log, ({ code }) => console.log(code));`;
  const limited = 'ulimit -n 100; exec "$0" --input-type=module --eval "$1"';
  const { stdout } = await promisify(execFile)('sh', ['-c', limited, process.execPath, program]);
  assert.equal(stdout.trim(), 'EMFILE');
});
