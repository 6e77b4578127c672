import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { findMadeDqd } from '../../src/images/find-made-dqd.ts';
import { MadeImages } from '../../src/images/made-images.ts';

test('the dqd image that VMs run in is the one that was made of their image, whatever it was made with', async () => {
  const base = await mkdtemp(join(tmpdir(), 'kiln-made-'));
  await using undo = new AsyncDisposableStack();
  undo.defer(() => rm(base, { recursive: true }));
  const made = new MadeImages(base);
  const note = async (entry: string, kind: 'vm' | 'dqd', version: string, name: string): Promise<void> => {
    const directory = join(base, name);
    await mkdir(directory);
    if (kind === 'dqd') await writeFile(join(directory, 'image.tar'), '');
    await made.note(entry, { kind, version, directory });
  };
  await note('one', 'vm', 'v0.1.0', 'vm-1');
  await note('one', 'dqd', 'v0.1.0', 'earlier');
  await note('one', 'dqd', 'v0.1.0', 'later');
  await note('one', 'vm', 'v0.1.1', 'vm-2');
  await note('other', 'dqd', 'v0.1.1', 'of-other');
  const find = (folder: string) => findMadeDqd(made, { disk: join(base, folder, 'disk.qcow2') });
  assert.deepEqual(await find('vm-1'), {
    reference: 'kiln/dqd:one-later',
    tar: join(base, 'later/image.tar'),
    directory: join(base, 'later'),
  });
  assert.equal(await find('vm-2'), null);
  assert.equal(await find('first-image'), null);
  await rm(join(base, 'later'), { recursive: true });
  assert.equal(await find('vm-1'), null);
});
