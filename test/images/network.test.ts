import assert from 'node:assert/strict';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { findEntry, listArchive } from '../../src/catalog/catalog.ts';
import { ensureNetworkPrograms } from '../../src/images/network.ts';
import { imageRequest } from './image-request.ts';

const images = fileURLToPath(new URL('../../images', import.meta.url));
const entries = ['buildkit-v0.8.3', 'buildkit-v0.10.6', 'buildkit-v0.20.2', 'buildkit-v0.34.2'];

let directory: string;
const imagesDirectory = (): string => join(directory, 'images');
const relayDirectory = (): string => join(directory, 'relay');

/** The script itself, whose toolchain is not fetched here: what it would have been is written down. */
before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'kiln-network-'));
  await cp(images, imagesDirectory(), { recursive: true });
  await mkdir(relayDirectory());
  const stub = `mkdir -p "$out" "$GOMODCACHE" "$GOCACHE"
echo "$GO_TOOLCHAIN $GO_TOOLCHAIN_HASH_AMD64" >"$out/toolchain"
exit 0
`;
  await writeFile(join(imagesDirectory(), 'go-modules.sh'), stub);
});
after(() => rm(directory, { recursive: true }));

test('every entry has the same network programs, made once, by the toolchain that is tested', async () => {
  const folders = [];
  for (const entry of entries) folders.push(await ensure(entry));
  assert.deepEqual(new Set(folders).size, 1);
  const { pins } = findEntry(await listArchive(images), 'buildkit-v0.20.2');
  const toolchain = await readFile(join(folders[0] ?? '', 'out/toolchain'), 'utf8');
  assert.equal(toolchain, `${pins.GO_TOOLCHAIN} ${pins.GO_TOOLCHAIN_HASH_AMD64}\n`);
});

test('a changed relay or script makes them anew', async () => {
  const first = await ensure('buildkit-v0.20.2');
  await writeFile(join(relayDirectory(), 'main.go'), 'package main\n');
  const second = await ensure('buildkit-v0.20.2');
  const script = join(imagesDirectory(), 'build-network.sh');
  await writeFile(script, `${await readFile(script, 'utf8')}# changed\n`);
  const third = await ensure('buildkit-v0.20.2');
  assert.equal(new Set([first, second, third]).size, 3);
});

function ensure(entry: string): Promise<string> {
  const request = imageRequest({ entry, imagesDirectory: imagesDirectory(), cacheDirectory: directory });
  return ensureNetworkPrograms(request, relayDirectory());
}
