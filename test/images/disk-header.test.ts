import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { checkDisk } from '../../src/images/disk-header.ts';
import { runTool } from '../../src/lib/process/run-tool.ts';

const { signal } = new AbortController();

/** A disk as qemu-img makes it by these words; SECRET is a file of the host. */
async function withDisk(words: readonly string[], work: (disk: string) => Promise<void>): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'kiln-disk-'));
  try {
    const [secret, disk] = [join(directory, 'secret'), join(directory, 'disk.qcow2')];
    await writeFile(secret, Buffer.alloc(1024 * 1024, 'secret'));
    const given = words.map((word) => word.replace('SECRET', secret).replace('DISK', disk));
    await runTool('qemu-img', given, signal);
    await work(disk);
  } finally {
    await rm(directory, { recursive: true });
  }
}

for (const [title, words] of [
  ['is compressed, as ours are', 'convert -f raw -O qcow2 -c -o compression_type=zstd SECRET DISK'],
  ['is of an old version', 'create -f qcow2 -o compat=0.10 DISK 1M'],
] as const) {
  test(`a disk that ${title} is taken`, () => withDisk(words.split(' '), checkDisk));
}

for (const [title, words, message] of [
  ['has a backing file', 'create -f qcow2 -F raw -b SECRET DISK', /names another file/],
  [
    'has a backing file of an old version',
    'create -f qcow2 -o compat=0.10 -F raw -b SECRET DISK 1M',
    /names another file/,
  ],
  [
    'has its data elsewhere',
    'create -f qcow2 -o data_file=SECRET,data_file_raw=on DISK 1M',
    /names another file/,
  ],
  ['is no qcow2 image', 'convert -f raw -O raw SECRET DISK', /is no qcow2 image/],
] as const) {
  test(`a disk that ${title} is refused: QEMU would open a file of this host`, () =>
    withDisk(words.split(' '), (disk) =>
      assert.rejects(checkDisk(disk), { code: 'ARTIFACT_INVALID', message }),
    ));
}
