import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { extract, type Header } from 'tar-stream';
import { localAdmin } from '../../src/model/caller.ts';
import { capture } from '../../src/ssh/capture.ts';
import { compress, installCompressors } from '../context/compress.ts';
import { inChunks } from '../context/staging.ts';
import { fifo, file, folder, hardlink, oldSparse, pax, symlink, tar } from '../context/tar.ts';
import { curl, startForFile } from './harness.ts';

await installCompressors();
const { service } = await startForFile();
const { signal } = new AbortController();

/** The entries of the image that `COPY . /` makes of an archive. */
async function copyThrough(archive: Buffer, ...fields: readonly string[]): Promise<Map<string, Header>> {
  const directory = await mkdtemp(join(tmpdir(), 'kiln-context-'));
  try {
    const path = join(directory, 'ctx.tar');
    await writeFile(path, archive);
    const form = [
      ...fields.flatMap((field) => ['-F', field]),
      '-F',
      `context=@${path}`,
      '-F',
      'output=local',
    ];
    const { exit, body, headers } = await curl(...form, `${service.httpUrl}/build`);
    assert.equal(exit, 0, body);
    assert.ok(headers.startsWith('HTTP/1.1 200'), body);
    const kept = await service.builds.artifact(localAdmin, /x-build-id: (\S+)/i.exec(headers)?.[1] ?? '');
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

test('what real archives have besides arrives as docker takes it: a folder as the context, repeats, links to links, holes, odd names', async () => {
  const text = '# caf\xe9\r\nFROM scratch\r\nCOPY . /\r\n';
  const entries = await copyThrough(
    await compress(
      'xz',
      tar(
        file('Dockerfile', 'FROM scratch as none\nCOPY none /\n'),
        { name: 'proj/dockerfile', content: Buffer.from(text, 'latin1') },
        symlink('top', 'proj'),
        file('proj/again', 'old'),
        file('proj/.dockerignore', 'ignored\n'),
        fifo('proj/ignored/fifo'),
        fifo('proj/fifo'),
        symlink('proj/first', 'again'),
        hardlink('proj/second', 'proj/first'),
        file('/proj/Icon\r', 'icon'),
        file('proj/new\nline', 'x'),
        file('proj/again', 'newest'),
        oldSparse('proj/sparse', { realSize: 300_000, map: [200_000, 4], data: 'data' }),
      ),
    ),
    'context-dir=top',
  );
  const names = [...entries.keys()].filter((name) => !name.endsWith('/')).toSorted();
  const wanted = ['Icon\r', 'again', 'dockerfile', 'first', 'new\nline', 'second', 'sparse', '.dockerignore'];
  assert.deepEqual(names, wanted.toSorted());
  assert.equal(entries.get('again')?.size, 6);
  assert.equal(entries.get('sparse')?.size, 300_000);
  for (const name of ['first', 'second']) {
    const { type, linkname } = entries.get(name) ?? {};
    assert.ok(
      linkname === 'again' || (type === 'link' && linkname === 'first'),
      `${name}: ${type} → ${linkname}`,
    );
  }
});

test('owners, fractions of seconds, link counts and xattrs are those of the archive where the guest mounts it', async () => {
  const archive = tar(
    pax({ uid: '1234', gid: '70000', mtime: '1600000000.123456789', 'SCHILY.xattr.user.kiln': 'kept' }),
    file('owned'),
    pax({ mtime: '-1.5' }),
    { ...file('before-1970'), mode: '0000600\0' },
    hardlink('again', 'owned'),
    pax({
      'SCHILY.xattr.security.capability': Buffer.from('0100000200200000000000000000000000000000', 'hex'),
    }),
    file('capable'),
    { ...folder('repeated'), mode: '0000700\0' },
    pax({ 'SCHILY.xattr.user.kiln': 'kept' }),
    { ...folder('repeated'), mode: '0000710\0' },
    file('replaced', 'x'),
    hardlink('first', 'replaced'),
    file('replaced', 'yy'),
    symlink('link', 'x'),
    hardlink('link-again', 'link'),
    file('implied/folder/file', 'y'.repeat(10_000)),
  );
  const staged = await service.builds.stageContexts(localAdmin, signal);
  await staged.add(null, { bytes: inChunks(archive), declared: null });
  await using context = await staged.seal({ dockerfile: null }, { customFrontends: false });
  await using lease = await service.pool.acquire(signal);
  await lease.vm.plugFile({ serial: 'context', source: context.path }, signal);
  const look = [
    'until disk=$(grep -l context /sys/block/vd*/serial); do sleep 0.1; done',
    'mount -t erofs -o ro /dev/$(basename $(dirname $disk)) /mnt && cd /mnt/context',
    'find . -mindepth 1 -printf "%P %y %m %U %G %T@ %n %s\\n" | sort',
    'md5sum <implied/folder/file',
    // getxattr, 191 on x86-64.
    `perl -e '($f, $k, $v) = ("owned", "user.kiln", " " x 9); print substr($v, 0, syscall(191, $f, $k, $v, 9)), "\\n"'`,
    `perl -e '($f, $k, $v) = ("repeated", "user.kiln", " " x 9); print substr($v, 0, syscall(191, $f, $k, $v, 9)), "\\n"'`,
    `perl -e '($f, $k, $v) = ("capable", "security.capability", " " x 99); print syscall(191, $f, $k, $v, 99), "\\n"'`,
  ].join('\n');
  const lines = (await capture(lease.vm.connection, look, { signal })).trim().split('\n');
  assert.deepEqual(
    lines.filter((line) => !/ d 755 0 0 0\.0+ /.test(line)),
    [
      'again f 644 1234 70000 1600000000.1234567890 2 1',
      // As find prints it: two seconds before 1970, and half a second on.
      'before-1970 f 600 0 0 -2.5000000000 1 1',
      'capable f 644 0 0 1610612736.0000000000 1 1',
      'first f 644 0 0 1610612736.0000000000 1 1',
      'implied/folder/file f 644 0 0 1610612736.0000000000 1 10000',
      'link l 644 0 0 1610612736.0000000000 2 1',
      'link-again l 644 0 0 1610612736.0000000000 2 1',
      'owned f 644 1234 70000 1600000000.1234567890 2 1',
      'repeated d 710 0 0 1610612736.0000000000 2 27',
      'replaced f 644 0 0 1610612736.0000000000 1 2',
      `${createHash('md5').update('y'.repeat(10_000)).digest('hex')}  -`,
      'kept',
      'kept',
      '20',
    ],
  );
});
