import assert from 'node:assert/strict';
import { chmod, cp, mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  createDataFolder,
  ensureInstallationId,
  prepareDataFolders,
  requirePassable,
} from '../../src/host/data-folders.ts';

async function createFolder(): Promise<AsyncDisposable & { path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'kiln-host-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true }) };
}

test('an installation keeps its id; a file that a power failure left empty or half-made counts as none', async () => {
  for (const left of [null, '', '\n']) {
    await using folder = await createFolder();
    const path = join(folder.path, 'installation-id');
    if (left !== null) await writeFile(path, left);
    await writeFile(`${path}.new`, '0123');
    const id = await ensureInstallationId(folder.path);
    assert.match(id, /^[0-9a-f]{16}$/);
    assert.ok((await readFile(path, 'utf8')).startsWith(`${id}\n`));
    assert.equal(await ensureInstallationId(folder.path), id);
    assert.deepEqual(await readdir(folder.path), ['installation-id']);
  }
});

test('a copy of a data folder is another installation, and whichever is moved stays the same', async () => {
  await using folder = await createFolder();
  const [original, copy, moved] = ['original', 'copy', 'moved'].map((name) => join(folder.path, name)) as [
    string,
    string,
    string,
  ];
  await mkdir(original);
  const id = await ensureInstallationId(original);
  await cp(original, copy, { recursive: true, preserveTimestamps: true });
  const other = await ensureInstallationId(copy);
  assert.notEqual(other, id);
  assert.equal(await ensureInstallationId(copy), other);
  await rename(original, moved);
  assert.equal(await ensureInstallationId(moved), id);
});

test('folders of data are made so that QEMU, as another user, passes through; logs, artifacts and contexts are private', async () => {
  await using folder = await createFolder();
  const data = join(folder.path, 'deep/data');
  await createDataFolder(data);
  const folders = await prepareDataFolders(data);
  const mode = async (path: string): Promise<number> => (await stat(path)).mode & 0o777;
  for (const path of [data, folders.vms, folders.templates]) assert.equal(await mode(path), 0o711, path);
  for (const path of [folders.seals, folders.builds, folders.artifacts, folders.staging])
    assert.equal(await mode(path), 0o700, path);
});

test('contexts of an earlier run go at the start, and nothing else does', async () => {
  await using folder = await createFolder();
  const folders = await prepareDataFolders(folder.path);
  for (const path of Object.values(folders)) await writeFile(join(path, 'file'), '');
  await prepareDataFolders(folder.path);
  for (const [name, path] of Object.entries(folders))
    assert.deepEqual(await readdir(path), name === 'staging' ? [] : ['file'], name);
});

test('a data folder within one that QEMU may not enter is refused by name, also before it is made', async () => {
  await using folder = await createFolder();
  const closed = join(folder.path, 'closed');
  await mkdir(closed, { mode: 0o700 });
  await chmod(folder.path, 0o711);
  const open = { asRoot: true, dataDirectory: closed, cacheDirectory: closed };
  await requirePassable(open);
  const refused = { code: 'CONFIG_INVALID' };
  const sentence = `lies in ${closed}, which only its owner may enter`;
  for (const inside of [join(closed, 'data'), join(closed, 'deep/data')]) {
    const dataDirectory = { ...refused, message: new RegExp(`^KILN_DATA_DIR: ${inside} ${sentence}`) };
    await assert.rejects(requirePassable({ ...open, dataDirectory: inside }), dataDirectory);
    const cacheDirectory = { ...refused, message: new RegExp(`^KILN_CACHE_DIR: ${inside} ${sentence}`) };
    await assert.rejects(requirePassable({ ...open, cacheDirectory: inside }), cacheDirectory);
    await requirePassable({ asRoot: false, dataDirectory: inside, cacheDirectory: inside });
  }
  await chmod(closed, 0o711);
  await requirePassable({ ...open, dataDirectory: join(closed, 'data') });
});
