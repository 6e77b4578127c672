import assert from 'node:assert/strict';
import { copyFile, mkdtemp, open, rename, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { openVmImage, writeManifest } from '../../src/images/vm-image-files.ts';
import { KilnError } from '../../src/model/error.ts';
import type { VmImage } from '../../src/model/vm-image.ts';

const { signal } = new AbortController();
/** Whole seconds: Node cannot put back the nanoseconds of a time. */
const someTime = 1_000_000_000;

type Image = AsyncDisposable & {
  readonly directory: string;
  readonly disk: string;
  /** As a start of kiln does, which remembers what earlier ones have read; without `remember` as who has no data folder. */
  open(remember?: boolean): Promise<VmImage>;
};

async function createImage(): Promise<Image> {
  const base = await mkdtemp(join(tmpdir(), 'kiln-image-files-'));
  const [directory, record] = [join(base, 'image'), join(base, 'seals.json')];
  await rename(await mkdtemp(join(base, 'unfinished-')), directory);
  for (const [name, bytes] of Object.entries({ kernel: 1, initrd: 2, 'disk.qcow2': 20 * 1024 * 1024 })) {
    await writeFile(join(directory, name), Buffer.alloc(bytes));
    await utimes(join(directory, name), someTime, someTime);
  }
  await writeFile(join(directory, 'versions.json'), '{}');
  await writeManifest({ directory, entry: 'buildkit-v0.20.2', source: 'packages' }, signal);
  return {
    ...{ directory, disk: join(directory, 'disk.qcow2') },
    open: (remember = true) =>
      openVmImage({ entry: 'buildkit-v0.20.2', directory, record: remember ? record : null }, signal),
    [Symbol.asyncDispose]: () => rm(base, { recursive: true }),
  };
}

/** One byte where no sample is taken, the time of the last change put back. */
async function damageHidden(path: string): Promise<void> {
  await using file = await open(path, 'r+');
  await file.write(Buffer.from([7]), 0, 1, 200 * 1024);
  await utimes(path, someTime, someTime);
}

test('an image is read whole at the first start, and at later ones while it looks the same only where somebody checks it', async () => {
  await using image = await createImage();
  assert.equal((await image.open()).sealed.checked, true);
  const later = await image.open();
  assert.equal(later.sealed.checked, false);
  assert.deepEqual([await later.sealed.check(signal), later.sealed.checked], [null, true]);
});

test('hidden damage passes a start and no check; from then on the image is refused until it was made good', async () => {
  await using image = await createImage();
  await image.open();
  await copyFile(image.disk, `${image.disk}.good`);
  await damageHidden(image.disk);
  await assert.rejects(image.open(false), { code: 'IMAGE_CORRUPT' });
  const started = await image.open();
  assert.equal(await started.sealed.check(signal), `${image.disk} is not what it was made as`);
  const error = KilnError.from(await image.open().catch((thrown: unknown) => thrown));
  assert.equal(error.code, 'IMAGE_CORRUPT');
  assert.match(error.message, /^The VM image of buildkit-v0\.20\.2 is damaged/);
  assert.ok(!error.message.includes('/'), 'callers are told no path of this machine');
  const cause = `Error: ${image.disk} is not what it was made as. Make another image with POST /admin/images/rebuild, or remove ${image.directory} and start kiln again.`;
  assert.equal(String(error.cause), cause);
  await rename(`${image.disk}.good`, image.disk);
  await image.open();
});

const damages: Record<string, (image: Image) => Promise<void>> = {
  'a file changed': ({ directory }) => writeFile(join(directory, 'kernel'), 'evil'),
  'a file gone': ({ directory }) => rm(join(directory, 'initrd')),
  'its manifest cut off': ({ directory }) => writeFile(join(directory, 'manifest.json'), '{"entry": "b'),
  'its manifest gone': ({ directory }) => rm(join(directory, 'manifest.json')),
};
for (const [what, damage] of Object.entries(damages)) {
  test(`an image with ${what} is refused at a start`, async () => {
    await using image = await createImage();
    await image.open();
    await damage(image);
    const { code, cause } = KilnError.from(await image.open().catch((thrown: unknown) => thrown));
    assert.equal(code, 'IMAGE_CORRUPT');
    assert.match(String(cause), /remove \/\S+\/image and start/);
  });
}
