import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { link, mkdir, mkdtemp, readFile, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { promisify } from 'node:util';
import { installTools } from '../install-tools.ts';
import { extractImage, listTree } from './image.ts';
import { Staging } from './staging.ts';

const run = promisify(execFile);

await installTools([
  // The other one, busybox, would take the place of this in the images that tests build from.
  { find: 'busybox', package: 'busybox-static' },
  { find: 'bsdtar', package: 'libarchive-tools' },
  { find: 'cpio', package: 'cpio' },
  { find: 'pax', package: 'pax' },
  { find: 'pigz', package: 'pigz' },
  { find: 'python3', package: 'python3' },
  { find: 'perl', package: 'perl' },
  { find: 'zip', package: 'zip' },
  { find: 'git', package: 'git' },
]);

const work = await mkdtemp(join(tmpdir(), 'kiln-tools-'));
after(() => rm(work, { recursive: true }));
const tree = join(work, 'tree');
await mkdir(join(tree, 'sub/empty'), { recursive: true });
await writeFile(join(tree, 'Dockerfile'), 'FROM scratch\nCOPY . /\n');
await writeFile(join(tree, 'run.sh'), '#!/bin/sh\n', { mode: 0o755 });
await writeFile(join(tree, 'sub/naïve 日本'), 'icon');
await writeFile(join(tree, `sub/a&b "quoted"`), 'x');
await writeFile(join(tree, 'big'), Buffer.alloc(300_000, 'big'));
await writeFile(join(tree, 'nothing'), '');
await symlink('/etc/passwd', join(tree, 'link'));
await link(join(tree, 'run.sh'), join(tree, 'hard'));
await utimes(join(tree, 'big'), 1, 500_000_000);

const python = (line: string): string => `python3 -c 'import os, tarfile\n${line}'`;
const perl =
  'chomp(my @names = `find . -mindepth 1`); Archive::Tar->create_archive($ENV{out}, COMPRESS_GZIP, @names)';

/** Told in a shell that stands in the tree, to make the file $out of all of it. */
const commands: readonly string[] = [
  'busybox tar cf "$out" .',
  'busybox tar czf "$out" *',
  'busybox tar cf - . | busybox bzip2 >"$out"',
  'tar --format=posix --pax-option=uid:=,gname:=,comment:= -cf "$out" .',
  'tar --format=posix --pax-option=mtime:= -cf "$out" .',
  'tar --format=posix --pax-option=exthdr.name=%d/x/%f,atime:=0,ctime:=0,comment=hello -cf "$out" .',
  'tar --format=posix --pax-option="delete=*time" -cf "$out" .',
  'tar --format=posix --pax-option="mtime={1970-01-01}" -cf "$out" .',
  'tar --format=posix --label=backup -cf "$out" .',
  'tar --xattrs --acls --selinux -cf "$out" .',
  'tar --format=gnu --owner=me:99999999 --group=us:99999999 --mtime=@-1000 -cf "$out" .',
  'tar --transform="s,^\\./,," --sort=name --mtime=@99999999999 --numeric-owner -cf "$out" .',
  'tar -cf "$out" Dockerfile sub && tar -cf ../b run.sh hard big link nothing && tar -Af "$out" ../b',
  'cp big more && tar -cf "$out" . && rm more && tar --delete -f "$out" ./more',
  'tar -cf "$out" . && touch -d tomorrow run.sh && tar -uf "$out" .',
  'cd sub && tar -cf "$out" ../Dockerfile ../run.sh ../hard ../big ../link ../nothing --transform="s,^\\.,sub," .',
  'find . | cpio --quiet -o -H ustar >"$out"',
  'find . | cpio --quiet -o -H tar >"$out"',
  'pax -w -x ustar . >"$out"',
  'pax -w -x tar . >"$out"',
  'tar -c . | pigz >"$out"',
  'tar -c . | pigz -i -b 128 >"$out"',
  'tar -cf ../whole . && gzip -Nc ../whole >"$out"',
  'bsdtar -cf ../all . && bsdtar -cf "$out" @../all',
  'bsdtar --format=pax --options=hdrcharset=BINARY -cf "$out" .',
  'bsdtar -cf "$out" . && bsdtar -rf "$out" run.sh && touch -d tomorrow big && bsdtar -uf "$out" big',
  python('with tarfile.open(os.environ["out"], "w|xz") as tar: tar.add(".")'),
  python('with tarfile.open(os.environ["out"], "w", pax_headers={"VENDOR.x": "y"}) as tar: tar.add(".")'),
  `perl -MArchive::Tar -e '${perl}'`,
  'find . | zip -qy@ "$out.zip" && mv "$out.zip" "$out"',
  'zip -qry0 - . >"$out"',
];

for (const [index, command] of commands.entries()) {
  test(`what ${command} makes is accepted, and becomes the same tree`, async () => {
    const out = join(work, String(index));
    await run('sh', ['-ec', command], { cwd: tree, env: { ...process.env, out } });
    await using staging = await Staging.create();
    await using staged = await staging.stageSealed(await readFile(out));
    await using image = await extractImage(staged.path);
    const fields = '%P %y %m %l';
    assert.deepEqual(await listTree(image.directory, fields), await listTree(tree, fields));
    await run('diff', ['--recursive', '--no-dereference', tree, image.directory]);
  });
}
