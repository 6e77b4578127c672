import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { writeOciLayout } from '../../src/images/oci-layout.ts';

let directory: string;

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'kiln-layout-'));
});
after(() => rm(directory, { recursive: true }));

test('an OCI layout holds three blobs, each named by its content, from the index down to the tar', async () => {
  const tar = join(directory, 'base.tar');
  const bytes = Buffer.alloc(10_240, 7);
  await writeFile(tar, bytes);
  const { digest } = await writeOciLayout({ tar, directory }, new AbortController().signal);

  assert.deepEqual((await readdir(directory)).sort(), ['blobs', 'index.json', 'oci-layout']);
  const names = await readdir(join(directory, 'blobs/sha256'));
  assert.equal(names.length, 3);
  for (const name of names) assert.equal(sha256(await readBlob(name)), name);

  const index = await readJson('index.json');
  assert.equal(index.manifests[0].digest, digest);
  assert.equal(index.manifests[0].size, (await readBlob(digest)).length);
  const manifest = JSON.parse((await readBlob(digest)).toString());
  const layer = { mediaType: 'application/vnd.oci.image.layer.v1.tar', size: bytes.length };
  assert.deepEqual(manifest.layers, [{ ...layer, digest: `sha256:${sha256(bytes)}` }]);
  const config = JSON.parse((await readBlob(manifest.config.digest)).toString());
  assert.deepEqual(config.rootfs.diff_ids, [manifest.layers[0].digest]);
  assert.equal((await readJson('oci-layout')).imageLayoutVersion, '1.0.0');
});

function readBlob(digest: string): Promise<Buffer> {
  return readFile(join(directory, 'blobs/sha256', digest.replace('sha256:', '')));
}

async function readJson(name: string) {
  return JSON.parse(await readFile(join(directory, name), 'utf8'));
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}
