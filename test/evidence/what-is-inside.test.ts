import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { parseDpkgStatus } from '../../src/evidence/debian-packages.ts';
import { parseGoVersion, readGoModules } from '../../src/evidence/go-modules.ts';
import { readLayoutFile } from '../../src/evidence/layout-file.ts';
import { ensureProgram, signal } from '../registry/harness.ts';

const run = promisify(execFile);

test('the packages of a Debian are those that dpkg-query tells of', async () => {
  const fields = ['Package', 'Version', 'Architecture', 'db:Status-Status'].map((field) => `\${${field}}`);
  const { stdout } = await run('dpkg-query', ['-W', '-f', `${fields.join(' ')}\n`]);
  const expected = stdout
    .trim()
    .split('\n')
    .filter((line) => line.endsWith(' installed'));
  const packages = parseDpkgStatus(await readFile('/var/lib/dpkg/status', 'utf8'));
  const found = packages.map(
    ({ name, version, architecture }) => `${name} ${version} ${architecture} installed`,
  );
  assert.ok(found.length > 100);
  assert.deepEqual(found.toSorted(), expected.toSorted());
});

test('what is removed is no package, and what cannot be called so is no status of dpkg', () => {
  const stanza = (name: string, status: string): string =>
    `Package: ${name}\nStatus: ${status}\nArchitecture: amd64\nVersion: 1.0-1\nDescription: x\n more: of it\n`;
  const text = [stanza('b', 'install ok installed'), stanza('a', 'install ok installed')].join('\n');
  assert.deepEqual(
    parseDpkgStatus(`${text}\n${stanza('gone', 'deinstall ok config-files')}`).map(({ name }) => name),
    ['a', 'b'],
  );
  for (const name of ['', '../evil', 'Upper', 'a"b'])
    assert.throws(() => parseDpkgStatus(stanza(name, 'install ok installed')), /a package with the name/);
});

test('the modules of a Go program are those that its linker wrote into it', async () => {
  const modules = await readGoModules([await ensureProgram()], signal);
  const oras = modules.find(({ path }) => path === 'oras.land/oras-go/v2');
  const sums = await readFile(join(import.meta.dirname, '../../src/registry/program/go.sum'), 'utf8');
  assert.ok(sums.includes(`oras.land/oras-go/v2 ${oras?.version} ${oras?.hash}\n`));
  assert.ok(modules.length >= 4);
});

test('a module that is replaced is named by what is in its place', () => {
  const text =
    'x: go1.22\n\tpath\tx\n\tmod\tx\tv1\t\n\tdep\ta\tv1.0.0\th1:A=\n\tdep\tb\tv1.0.0\n\t=>\tc\tv2.0.0\th1:C=\n';
  assert.deepEqual(parseGoVersion(text), [
    { path: 'a', version: 'v1.0.0', hash: 'h1:A=' },
    { path: 'c', version: 'v2.0.0', hash: 'h1:C=' },
  ]);
});

test('a file of an image is that of its last layer, however the layers are compressed', async () => {
  await using layout = await createLayered([
    { files: { 'etc/a': 'first', 'etc/b': 'only' }, suffix: '', compress: (bytes) => bytes },
    { files: { 'etc/a': 'second' }, suffix: '+gzip', compress: gzipSync },
    { files: { 'etc/a': 'third' }, suffix: '+zstd', compress: zstdCompressSync },
  ]);
  const read = async (name: string): Promise<string | undefined> =>
    (await readLayoutFile(layout, { name, maxBytes: 100 }, signal))?.toString();
  assert.equal(await read('etc/a'), 'third');
  assert.equal(await read('etc/b'), 'only');
  assert.equal(await read('etc/c'), undefined);
  await assert.rejects(readLayoutFile(layout, { name: 'etc/a', maxBytes: 3 }, signal), /larger than 3 bytes/);
});

type Layer = {
  readonly files: Readonly<Record<string, string>>;
  readonly suffix: string;
  readonly compress: (bytes: Buffer) => Buffer;
};

async function createLayered(layers: readonly Layer[]) {
  const directory = await mkdtemp(join(tmpdir(), 'kiln-layered-'));
  const blobs = join(directory, 'blobs/sha256');
  await mkdir(blobs, { recursive: true });
  const put = async (bytes: Buffer): Promise<string> => {
    const hash = createHash('sha256').update(bytes).digest('hex');
    await writeFile(join(blobs, hash), bytes);
    return `sha256:${hash}`;
  };
  const described = [];
  for (const [index, { files, suffix, compress }] of layers.entries()) {
    const root = join(directory, `root-${index}`);
    for (const [name, text] of Object.entries(files)) {
      await mkdir(join(root, 'etc'), { recursive: true });
      await writeFile(join(root, name), text);
    }
    const { stdout } = await run('tar', ['-cf', '-', '-C', root, '.'], { encoding: 'buffer' });
    const mediaType = `application/vnd.oci.image.layer.v1.tar${suffix}`;
    described.push({ mediaType, digest: await put(compress(stdout)) });
  }
  const digest = await put(Buffer.from(JSON.stringify({ layers: described })));
  return { layout: directory, digest, [Symbol.asyncDispose]: () => rm(directory, { recursive: true }) };
}
