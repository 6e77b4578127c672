import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import {
  type FileHandle,
  link,
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { pack } from 'tar-stream';
import { type ArtifactStore, openArtifactStore } from '../../src/artifacts/artifact-store.ts';
import { KilnError } from '../../src/model/error.ts';

const { signal } = new AbortController();
const noRecord = async (): Promise<void> => undefined;
const diskBytes = 4 * 1024 * 1024;

type Harness = AsyncDisposable & { readonly folder: string; readonly store: ArtifactStore };

async function createStore(): Promise<Harness> {
  const folder = await mkdtemp(join(tmpdir(), 'kiln-artifacts-'));
  const store = await openArtifactStore(join(folder, 'artifacts'));
  return { folder, store, [Symbol.asyncDispose]: () => rm(folder, { recursive: true }) };
}

function makeTar(files: Record<string, Buffer>): Promise<Buffer> {
  const packed = pack();
  for (const [name, bytes] of Object.entries(files)) packed.entry({ name }, bytes);
  packed.finalize();
  return buffer(packed);
}

/** A raw disk as a guest leaves it: bytes at its start, the rest a hole. */
async function writeDisk({ store }: Harness, bytes: Buffer): Promise<string> {
  const file = store.incomingPath('build');
  await writeFile(file, bytes);
  await truncate(file, diskBytes);
  return file;
}

const listAll = (folder: string): Promise<string[]> =>
  readdir(folder, { recursive: true }).then((names) => names.sort());

test('what a guest wrote is kept under its sha256, cut to its length', async () => {
  await using harness = await createStore();
  const tar = await makeTar({ 'manifest.json': Buffer.from('[]'), layer: randomBytes(300_000) });
  const file = await writeDisk(harness, tar);
  const artifact = await harness.store.keep({ file, format: 'docker', bytes: tar.length }, noRecord, signal);
  const digest = `sha256:${createHash('sha256').update(tar).digest('hex')}`;
  assert.deepEqual(artifact, { format: 'docker', digest, size: tar.length });
  const path = harness.store.path(artifact.digest);
  assert.deepEqual(await readFile(path), tar);
  assert.equal((await stat(path)).mode & 0o777, 0o400);
  assert.deepEqual(await listAll(join(harness.folder, 'artifacts')), [
    'incoming',
    'sha256',
    `sha256/${basename(path)}`,
  ]);
});

test('the same bytes are kept once', async () => {
  await using harness = await createStore();
  const tar = await makeTar({ a: Buffer.from('a') });
  const keep = async () =>
    harness.store.keep(
      { file: await writeDisk(harness, tar), format: 'oci', bytes: tar.length },
      noRecord,
      signal,
    );
  assert.deepEqual(await keep(), await keep());
  assert.equal((await readdir(join(harness.folder, 'artifacts/sha256'))).length, 1);
});

test('an image without files is an empty tar', async () => {
  await using harness = await createStore();
  const file = await writeDisk(harness, Buffer.alloc(1024));
  assert.equal(
    (await harness.store.keep({ file, format: 'local', bytes: 1024 }, noRecord, signal)).size,
    1024,
  );
});

test('artifacts outlive the service; what was incoming does not', async () => {
  await using harness = await createStore();
  const tar = await makeTar({ a: Buffer.from('a') });
  const disk = await writeDisk(harness, tar);
  const { digest } = await harness.store.keep(
    { file: disk, format: 'oci', bytes: tar.length },
    noRecord,
    signal,
  );
  await writeDisk(harness, tar);
  await mkdir(harness.store.incomingPath('folder'));
  const again = await openArtifactStore(join(harness.folder, 'artifacts'));
  assert.deepEqual(await readFile(again.path(digest)), tar);
  assert.deepEqual(await readdir(join(harness.folder, 'artifacts/incoming')), []);
});

type Spoil = (tar: Buffer) => { bytes: number; written?: Buffer };

/** What a hostile or broken guest may claim and write. */
const invalid: Record<string, Spoil> = {
  'of no bytes': () => ({ bytes: 0 }),
  'of a negative length': () => ({ bytes: -512 }),
  'of a fraction of a byte': (tar) => ({ bytes: tar.length + 0.5 }),
  'of NaN bytes': () => ({ bytes: Number.NaN }),
  'of half a block': (tar) => ({ bytes: tar.length - 256 }),
  'of one block': () => ({ bytes: 512 }),
  'longer than its disk': () => ({ bytes: diskBytes + 512 }),
  'of more bytes than a number holds': () => ({ bytes: Number.MAX_SAFE_INTEGER }),
  'without its end': (tar) => ({ bytes: tar.length - 1024 }),
  'whose end is no zeros': (tar) => ({
    bytes: tar.length,
    written: Buffer.concat([tar.subarray(0, -1), Buffer.from('x')]),
  }),
  'that is nothing but zeros': () => ({ bytes: diskBytes, written: Buffer.alloc(0) }),
  'with a wrong checksum': (tar) => ({
    bytes: tar.length,
    written: Buffer.concat([Buffer.from('X'), tar.subarray(1)]),
  }),
  'that is no tar': (tar) => ({
    bytes: tar.length,
    written: Buffer.concat([Buffer.alloc(512, 'x'), tar.subarray(512)]),
  }),
};

for (const [title, spoil] of Object.entries(invalid)) {
  test(`an artifact ${title} is ARTIFACT_INVALID and removed`, async () => {
    await using harness = await createStore();
    const tar = await makeTar({ a: Buffer.from('a') });
    const { bytes, written = tar } = spoil(tar);
    const file = await writeDisk(harness, written);
    await assert.rejects(harness.store.keep({ file, format: 'docker', bytes }, noRecord, signal), {
      code: 'ARTIFACT_INVALID',
    });
    assert.deepEqual(await listAll(join(harness.folder, 'artifacts')), ['incoming', 'sha256']);
  });
}

const replacements: Record<string, (file: string, victim: string) => Promise<unknown>> = {
  'a link to a file of the host': (file, victim) => symlink(victim, file),
  'another name of a file of the host': (file, victim) => link(victim, file),
  'a link to nowhere': (file) => symlink('/nowhere', file),
  'a folder': (file) => mkdir(file),
};

for (const [title, replace] of Object.entries(replacements)) {
  test(`a disk that was replaced by ${title} is ARTIFACT_INVALID, and the host's file untouched`, async () => {
    await using harness = await createStore();
    const tar = Buffer.concat([await makeTar({ a: Buffer.from('a') }), Buffer.from('more')]);
    const victim = join(harness.folder, 'victim');
    await writeFile(victim, tar, { mode: 0o640 });
    const file = harness.store.incomingPath('build');
    await replace(file, victim);
    const claim = { format: 'docker' as const, bytes: tar.length - 4 };
    await assert.rejects(harness.store.keep({ file, ...claim }, noRecord, signal), {
      code: 'ARTIFACT_INVALID',
    });
    assert.deepEqual(await readFile(victim), tar);
    assert.equal((await stat(victim)).mode & 0o777, 0o640);
    assert.deepEqual(await listAll(join(harness.folder, 'artifacts')), ['incoming', 'sha256']);
  });
}

test('a build that is cancelled while its artifact is read keeps none, and ends with its own reason', async () => {
  await using harness = await createStore();
  const tar = await makeTar({ a: randomBytes(3_000_000) });
  const file = await writeDisk(harness, tar);
  const reason = new KilnError('CANCELLED', 'The client went away.');
  const keeping = harness.store.keep(
    { file, format: 'oci', bytes: tar.length },
    noRecord,
    AbortSignal.abort(reason),
  );
  await assert.rejects(keeping, reason);
  assert.deepEqual(await listAll(join(harness.folder, 'artifacts')), ['incoming', 'sha256']);
});

test('an artifact is removed unless someone holds it in that moment; who reads it then reads it to its end', async () => {
  await using harness = await createStore();
  const { store } = harness;
  const tar = await makeTar({ a: randomBytes(3_000_000) });
  const file = await writeDisk(harness, tar);
  const { digest } = await store.keep({ file, format: 'oci', bytes: tar.length }, noRecord, signal);
  assert.deepEqual(await store.list(), [digest]);
  await store.remove(digest, async () => true);
  assert.deepEqual(await store.list(), [digest]);
  await using reader = await open(store.path(digest), 'r');
  await store.remove(digest, async () => false);
  assert.deepEqual(await store.list(), []);
  assert.deepEqual(await reader.readFile(), tar);
  await store.remove(digest, async () => false);
});

test('nothing is removed between the arrival of an artifact and the note of who holds it', async () => {
  await using harness = await createStore();
  const { store } = harness;
  const tar = await makeTar({ a: Buffer.from('a') });
  const keep = async (record: () => Promise<void>) =>
    store.keep({ file: await writeDisk(harness, tar), format: 'oci', bytes: tar.length }, record, signal);
  const { digest } = await keep(noRecord);
  let holders = 0;
  let removed: Promise<void> | undefined;
  await keep(async () => {
    // The last build that had it goes in the moment in which another puts out the same.
    removed = store.remove(digest, async () => holders > 0);
    await sleep(20);
    holders += 1;
  });
  await removed;
  assert.deepEqual(await store.list(), [digest]);
});

/** What of the disk or the database fails while an artifact is kept, when its file has its name already. */
const failures = ['the note of who holds it', 'the sync of its folder'] as const;

for (const failure of failures) {
  test(`where ${failure} fails nothing is kept, but what another build keeps stays (the failure is simulated)`, async (t) => {
    await using harness = await createStore();
    const { store } = harness;
    const tar = await makeTar({ a: Buffer.from('a') });
    const full = Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
    const keep = async () => {
      const claim = { file: await writeDisk(harness, tar), format: 'oci' as const, bytes: tar.length };
      if (failure === 'the note of who holds it')
        return store.keep(claim, () => Promise.reject(full), signal);
      const restore = await failSync(t, join(harness.folder, 'artifacts/sha256'), full);
      return store.keep(claim, () => assert.fail(), signal).finally(restore);
    };
    await assert.rejects(keep(), { code: 'STORAGE_FULL' });
    assert.deepEqual(await listAll(join(harness.folder, 'artifacts')), ['incoming', 'sha256']);
    const claim = { file: await writeDisk(harness, tar), format: 'oci' as const, bytes: tar.length };
    const { digest } = await store.keep(claim, noRecord, signal);
    await assert.rejects(keep(), { code: 'STORAGE_FULL' });
    assert.deepEqual(await store.list(), [digest]);
    assert.deepEqual(await readFile(store.path(digest)), tar);
    assert.deepEqual(await readdir(join(harness.folder, 'artifacts/incoming')), []);
  });
}

/** Makes the sync of this folder fail, and no other. @returns what ends that */
async function failSync(t: TestContext, folder: string, error: Error): Promise<() => void> {
  await using handle = await open(folder, 'r');
  const { ino } = await handle.stat();
  const handles: FileHandle = Object.getPrototypeOf(handle);
  const { sync } = handles;
  const failing = t.mock.method(handles, 'sync', async function (this: FileHandle) {
    if ((await this.stat()).ino === ino) throw error;
    return sync.call(this);
  });
  return () => failing.mock.restore();
}
