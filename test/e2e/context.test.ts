import assert from 'node:assert/strict';
import { createReadStream } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { extract, type Header } from 'tar-stream';
import { file, folder, hardlink, pax, symlink, tar } from '../context/tar.ts';
import { curl, startForFile } from './harness.ts';

const { service } = await startForFile();

/** The entries of the image that `COPY . /` makes of an archive. */
async function copyThrough(archive: Buffer): Promise<Map<string, Header>> {
  const directory = await mkdtemp(join(tmpdir(), 'kiln-context-'));
  try {
    const path = join(directory, 'ctx.tar');
    await writeFile(path, archive);
    const form = ['-F', `context=@${path}`, '-F', 'output=local'];
    const { exit, body, headers } = await curl(...form, `${service.httpUrl}/build`);
    assert.equal(exit, 0, body);
    assert.ok(headers.startsWith('HTTP/1.1 200'), body);
    const kept = await service.builds.artifact(/x-build-id: (\S+)/i.exec(headers)?.[1] ?? '');
    const entries = new Map<string, Header>();
    for await (const entry of createReadStream(kept.path).pipe(extract())) {
      entries.set(entry.header.name, entry.header);
      entry.resume();
    }
    return entries;
  } finally {
    await rm(directory, { recursive: true });
  }
}

test('modes, links, empty folders, times, xattrs and odd names arrive as in the archive', async () => {
  const long = `${'long-'.repeat(40)}name`;
  const entries = await copyThrough(
    tar(
      file('Dockerfile', 'FROM scratch\nCOPY . /\n'),
      { ...file('setuid'), mode: '0004750\0' },
      { ...file('old'), mtime: '07346545000\0' },
      { ...folder('empty'), mode: '0001777\0' },
      folder('d'),
      file('d/target', 'text'),
      symlink('d/symbolic', '../nowhere'),
      hardlink('d/second', 'd/target'),
      pax({ 'SCHILY.xattr.user.kiln': 'kept' }),
      file('with-xattr'),
      pax({ path: long }),
      file('short'),
      file('ünïcode name'),
    ),
  );
  const get = (name: string): Header => {
    const header = entries.get(name);
    assert.ok(header, `${name} is missing among ${[...entries.keys()].join(', ')}`);
    return header;
  };
  assert.equal(get('setuid').mode, 0o4750);
  assert.equal(get('old').mtime?.getTime(), 0o7346545000 * 1000);
  assert.equal(get('empty/').mode, 0o1777);
  assert.equal(get('d/symbolic').linkname, '../nowhere');
  const links = [get('d/target'), get('d/second')].map(({ type, linkname }) => ({ type, linkname }));
  assert.deepEqual(links.find(({ type }) => type === 'link')?.linkname?.startsWith('d/'), true);
  assert.match(JSON.stringify(get('with-xattr').pax), /"SCHILY.xattr.user.kiln":"kept"/);
  assert.ok(get(long));
  assert.ok(get('ünïcode name'));
});
