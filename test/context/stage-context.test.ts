import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { access, readdir, readFile, readlink, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { KilnError } from '../../src/model/error.ts';
import { createSmallDisk } from '../small-disk.ts';
import { extractImage } from './image.ts';
import { accept, inChunks, refuseWith, type StagedContext, Staging, stageContext } from './staging.ts';
import { file, folder, gnuLong, pax, raw, symlink, tar } from './tar.ts';
import { zip } from './zip.ts';

const archive = tar(file('Dockerfile', 'FROM scratch\n'), file('big', 'x'.repeat(300_000)));

const otherFormats: readonly (readonly [name: string, start: Buffer])[] = [
  ['7z', Buffer.from('377abcaf271c', 'hex')],
  ['rar', Buffer.from('Rar!\x1a\x07')],
  ['lzop', Buffer.from('894c5a4f000d0a1a0a', 'hex')],
  ['compress (.Z)', Buffer.from('1f9d90', 'hex')],
  ['lzip', Buffer.from('LZIP\x01')],
  ['lz4', Buffer.from('04224d18', 'hex')],
  ['lzma', Buffer.from('5d00008000', 'hex')],
  ['cpio', Buffer.from('070701')],
  ['ar', Buffer.from('!<arch>\n')],
  ['cab', Buffer.from('MSCF\0')],
  ['of an unknown format', Buffer.from('FROM scratch\n')],
  ['of an unknown format', Buffer.from('BZh9 is no bzip2')],
];
for (const [name, start] of otherFormats) {
  test(`row 44a: what is ${name} (${start.toString('latin1', 0, 4).trim()}) is refused with ARCHIVE_FORMAT, which names what is taken`, async () => {
    for (const bytes of [start, Buffer.concat([start, Buffer.alloc(4000, 'z')])]) {
      const error = await refuseWith('ARCHIVE_FORMAT', bytes);
      const message = `The context is ${name}; send a zip, or a tar, as it is or compressed by gzip, bzip2, xz or zstd.`;
      assert.equal(error.message, message);
    }
  });
}

test('row 44: a tar whose first name begins as bzip2 does is a tar', async () => {
  assert.equal((await accept(tar(file('BZh91AY.txt')))).entries, 1);
});

test('row 45: the bytes say what an archive is', async () => {
  const content = file('a', 'same');
  const summaries = [
    await accept(tar(content)),
    await accept(gzipSync(tar(content))),
    await accept(zip([{ name: 'a', content: 'same' }])),
  ];
  assert.deepEqual(
    summaries.map(({ entries }) => entries),
    [1, 1, 1],
  );
  assert.equal(summaries[0]?.digest, summaries[1]?.digest);
});

const archives = [
  ['tar', tar(file('a', 'same'))],
  ['tar', gzipSync(tar(file('a', 'same')))],
  ['zip', zip([{ name: 'a', content: 'same' }])],
] as const;
for (const declared of ['tar', 'zip'] as const) {
  for (const [kind, bytes] of archives) {
    test(`row 45: a ${kind} of ${bytes.length} bytes that is declared as ${declared} is ${kind === declared ? 'accepted' : 'refused'}`, async () => {
      await using staging = await Staging.create();
      const staged = staging.stage(bytes, {}, new AbortController().signal, declared);
      if (kind === declared) {
        await using context = await staged;
        assert.equal(context.summary.entries, 1);
      } else {
        const message = `The context is called a ${declared} by its type or name, and is a ${kind}; send it as what it is.`;
        await assert.rejects(staged, { code: 'ARCHIVE_FORMAT', message });
        assert.deepEqual(await staging.files(), []);
      }
    });
  }
}

test('the files arrive byte for byte, in an image readable by its owner alone', async () => {
  await using staging = await Staging.create();
  for (const size of [13, 511, 512, 513, 100_000, archive.length]) {
    await using staged = await staging.stageSealed(inChunks(archive, size));
    await using image = await extractImage(staged.path);
    assert.equal(await readFile(join(image.directory, 'Dockerfile'), 'utf8'), 'FROM scratch\n');
    assert.equal(await readFile(join(image.directory, 'big'), 'utf8'), 'x'.repeat(300_000));
    const { mode, size: bytes } = await stat(staged.path);
    assert.equal(mode & 0o777, 0o600);
    assert.equal(bytes % 4096, 0);
  }
});

test('headers and names that lie across several blocks are read whole, wherever they are cut', async () => {
  const members = Array.from({ length: 300 }, (_, index) => {
    const name = `folder-${index % 7}/${'n'.repeat(130 + (index % 50))}-${index}`;
    const content = `${index}`.repeat(index);
    const comment = 'c'.repeat(index % 100 === 0 ? 900_000 : index * 10);
    return {
      name,
      content,
      bytes: Buffer.concat([pax({ path: name, comment }), raw(file('short', content))]),
    };
  });
  await using staging = await Staging.create();
  const archive = tar(...members.map(({ bytes }) => bytes));
  await using staged = await staging.stageSealed(inChunks(archive, 65_537));
  assert.equal(staged.summary.digest, `sha256:${createHash('sha256').update(archive).digest('hex')}`);
  await using image = await extractImage(staged.path);
  for (const { name, content } of members)
    assert.equal(await readFile(join(image.directory, name), 'utf8'), content, name);
});

const MiB = 1 << 20;
const files = Array.from({ length: 70 }, (_, index) => ({ name: `f${index}`, content: 'x'.repeat(MiB) }));
const filling = [
  ['a tar', tar(...files)],
  ['a zip', zip(files.map((item) => ({ ...item, method: 0 })))],
] as const;
for (const [name, upload] of filling) {
  test(`${name} that would fill the disk ends in NO_CAPACITY while it arrives, and leaves nothing`, async () => {
    await using disk = await createSmallDisk(100);
    let taken = 0;
    async function* counting(): AsyncGenerator<Buffer> {
      for await (const chunk of inChunks(upload, MiB)) {
        taken += chunk.length;
        yield chunk;
      }
    }
    await assert.rejects(stageOn(disk.path, counting()), { code: 'NO_CAPACITY', message: /nearly full/ });
    assert.ok(taken < upload.length, 'all of it was taken');
    assert.deepEqual(await readdir(disk.path), []);
  });
}

test('an image whose folders would fill the disk ends in NO_CAPACITY, and leaves nothing', async () => {
  await using disk = await createSmallDisk(100);
  // Each has a block of 4096 bytes, which is written when all names are known.
  const folders = Array.from({ length: 18_000 }, (_, index) => folder(`${index}/`));
  const staged = await stageOn(disk.path, inChunks(tar(...folders), MiB));
  const sealed = staged.seal({ dockerfile: null }, { customFrontends: false });
  await assert.rejects(sealed, { code: 'NO_CAPACITY' });
  assert.deepEqual(await readdir(disk.path), []);
});

function stageOn(directory: string, bytes: AsyncIterable<Buffer>): Promise<StagedContext> {
  return stageContext(
    { bytes, declared: null },
    {
      ...{ directory, minFreeBytes: 60 << 20, signal: new AbortController().signal },
      limits: { maxBytes: 1e9, maxUploadBytes: 1e9, maxEntries: 20_000 },
    },
  );
}

test('a link target of 4095 bytes, the longest that Linux can read, arrives whole', async () => {
  await using staging = await Staging.create();
  const target = `${'t'.repeat(254)}/`.repeat(16).slice(0, 4095);
  await using staged = await staging.stageSealed(tar(gnuLong('K', target), symlink('link', 'x')));
  await using image = await extractImage(staged.path);
  assert.equal(await readlink(join(image.directory, 'link')), target);
});

test('disposing removes the file, and is harmless when it was moved away or removed', async () => {
  await using staging = await Staging.create();
  for (const stage of [() => staging.stage(archive), () => staging.stageSealed(archive)]) {
    const context = await stage();
    assert.equal((await staging.files()).length, 1);
    await context[Symbol.asyncDispose]();
    assert.deepEqual(await staging.files(), []);
    await context[Symbol.asyncDispose]();
  }
});

test('a context has one owner: once it is sealed, the staged one gives nothing and removes nothing', async () => {
  await using staging = await Staging.create();
  const policy = { customFrontends: false };
  const staged = await staging.stage(archive);
  await using sealed = await staged.seal({ dockerfile: 'Dockerfile' }, policy);
  assert.deepEqual(sealed.summary, staged.summary);
  await staged[Symbol.asyncDispose]();
  await access(sealed.path);
  await assert.rejects(staged.seal({ dockerfile: 'Dockerfile' }, policy), /sealed or removed before/);
  await access(sealed.path);
});

test('a context that fails its checks is removed', async () => {
  await using staging = await Staging.create();
  const staged = await staging.stage(archive);
  await assert.rejects(staged.seal({ dockerfile: 'other' }, { customFrontends: false }), {
    code: 'DOCKERFILE_MISSING',
  });
  assert.deepEqual(await staging.files(), []);
});

for (const [name, upload] of [
  ['tar', archive],
  ['gzip', gzipSync(archive, { level: 0 })],
  ['zip', zip([{ name: 'big', method: 0, content: 'x'.repeat(300_000) }])],
] as const) {
  test(`a ${name} over the upload limit is refused with UPLOAD_TOO_LARGE`, async () => {
    const error = await refuseWith('UPLOAD_TOO_LARGE', upload, { maxUploadBytes: 200_000 });
    assert.equal(error.details.limit, 200_000);
  });

  test(`a ${name} whose sender falls silent ends with the signal's reason and leaves nothing`, async () => {
    await using staging = await Staging.create();
    const abort = new AbortController();
    const reason = new KilnError('CLIENT_GONE', 'The client has gone.');
    const source = new PassThrough();
    source.write(upload.subarray(0, 100_000));
    const staged = staging.stage(source, {}, abort.signal);
    await Promise.all([assert.rejects(staged, (error) => error === reason), drained(source, abort, reason)]);
    assert.deepEqual(await staging.files(), []);
  });

  test(`a ${name} whose sender fails ends with an internal error that keeps its cause`, async () => {
    await using staging = await Staging.create();
    const cause = new Error('connection reset');
    async function* failing(): AsyncGenerator<Buffer> {
      yield upload.subarray(0, 100_000);
      throw cause;
    }
    await assert.rejects(staging.stage(failing()), { code: 'INTERNAL', cause });
    assert.deepEqual(await staging.files(), []);
  });

  test(`the sender of a ${name} that is refused is told to stop`, async () => {
    await using staging = await Staging.create();
    const stopped = Promise.withResolvers<void>();
    async function* endless(): AsyncGenerator<Buffer> {
      try {
        for (;;) yield upload.subarray(0, 100_000);
      } finally {
        stopped.resolve();
      }
    }
    await assert.rejects(staging.stage(endless(), { maxUploadBytes: 150_000 }), KilnError);
    await stopped.promise;
  });
}

test('an upload is read no further than to what is refused', async () => {
  const evil = tar(file('../evil'), file('big', 'x'.repeat(20 << 20)));
  for (const upload of [evil, gzipSync(evil, { level: 0 })]) {
    await using staging = await Staging.create();
    let taken = 0;
    async function* counting(): AsyncGenerator<Buffer> {
      for await (const chunk of inChunks(upload, 65_536)) {
        taken += chunk.length;
        yield chunk;
      }
    }
    await assert.rejects(staging.stage(counting()), { code: 'ENTRY_ESCAPES' });
    await new Promise(setImmediate);
    assert.ok(taken < 2 << 20, `${taken} bytes were read`);
  }
});

test('a full disk is told as STORAGE_FULL', () => {
  const full = Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
  assert.equal(KilnError.from(full).code, 'STORAGE_FULL');
});

/** Aborts once all that was written has been taken. */
async function drained(source: PassThrough, abort: AbortController, reason: Error): Promise<void> {
  while (source.readableLength > 0 || source.writableLength > 0) await new Promise(setImmediate);
  abort.abort(reason);
}
