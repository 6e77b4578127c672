import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { link, mkdir, mkdtemp, readFile, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { gunzipSync } from 'node:zlib';
import { installTools } from '../install-tools.ts';
import { extractImage, listTree } from './image.ts';
import { accept, Staging } from './staging.ts';

const run = promisify(execFile);
const GiB = 1024 ** 3;

/** A folder with all that a context may hold. */
async function makeTree(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'kiln-tree-'));
  const deep = join(path, 'deep', 'd'.repeat(60), 'e'.repeat(60));
  await mkdir(deep, { recursive: true });
  await mkdir(join(path, 'empty'));
  await writeFile(join(path, 'Dockerfile'), 'FROM scratch\nCOPY . /\n');
  await writeFile(join(path, 'run.sh'), '#!/bin/sh\n', { mode: 0o4755 });
  await writeFile(join(path, 'big'), Buffer.alloc(300_000, 'big'));
  await writeFile(join(deep, 'n'.repeat(120)), 'long');
  await writeFile(join(path, 'naïve 日本'), 'utf-8');
  await symlink('../../outside', join(path, 'link'));
  await symlink('t'.repeat(150), join(path, 'long-link'));
  await link(join(path, 'big'), join(path, 'hard'));
  await utimes(join(path, 'run.sh'), 1.5, 1_600_000_000.123);
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true }) };
}

const gnuFormats = ['gnu', 'oldgnu', 'pax', 'posix'] as const;
for (const format of gnuFormats) {
  for (const more of [[], ['--gzip'], ['--blocking-factor=2048'], ['--hard-dereference', '--sort=name']]) {
    test(`GNU tar --format=${format} ${more.join(' ')} is accepted, and becomes the same tree`, async () => {
      await using tree = await makeTree();
      await using staging = await Staging.create();
      const options = ['-C', tree.path, `--format=${format}`, ...more, '-cf', '-', '.'];
      const { stdout } = await run('tar', options, { encoding: 'buffer', maxBuffer: GiB });
      await using staged = await staging.stageSealed(stdout);
      assert.equal(staged.summary.entries, 13);
      await using image = await extractImage(staged.path);
      const fields = '%P %y %m %Ts %l';
      assert.deepEqual(await listTree(image.directory, fields), await listTree(tree.path, fields));
      await run('diff', ['--recursive', '--no-dereference', tree.path, image.directory]);
    });
  }
}

for (const format of ['ustar', 'v7']) {
  test(`GNU tar --format=${format} is accepted`, async () => {
    await using tree = await makeTree();
    const options = [
      '-C',
      tree.path,
      `--format=${format}`,
      '-cf',
      '-',
      './Dockerfile',
      'run.sh',
      'empty',
      'link',
    ];
    const { stdout } = await run('tar', options, { encoding: 'buffer' });
    assert.equal((await accept(stdout)).entries, 4);
  });
}

for (const format of ['pax', 'ustar', 'gnutar']) {
  test(`bsdtar --format=${format}, the tar of macOS, writing to a pipe is accepted, and becomes the same tree`, async () => {
    await installTools([{ find: 'bsdtar', package: 'libarchive-tools' }]);
    await using tree = await makeTree();
    await using staging = await Staging.create();
    // What ustar has no place for.
    const left = format === 'ustar' ? ['--exclude=long-link', '--exclude=deep'] : [];
    const options = ['-C', tree.path, `--format=${format}`, ...left, '-czf', '-', '.'];
    const { stdout } = await run('bsdtar', options, { encoding: 'buffer', maxBuffer: GiB });
    assert.equal(stdout.length % 10_240, 0, 'it fills its last record behind the gzip stream');
    await using staged = await staging.stageSealed(stdout);
    await using image = await extractImage(staged.path);
    await run('diff', ['--recursive', '--no-dereference', ...left, tree.path, image.directory]);
  });
}

test('GNU tar of an empty folder is a context', async () => {
  await using tree = await makeTree();
  const { stdout } = await run('tar', ['-C', join(tree.path, 'empty'), '-c', '.'], { encoding: 'buffer' });
  assert.equal((await accept(stdout)).entries, 1);
});

for (const format of ['tar', 'tar.gz', 'zip']) {
  test(`git archive --format=${format} is accepted`, async () => {
    await using tree = await makeTree();
    const git = (...args: readonly string[]) =>
      run('git', ['-C', tree.path, '-c', 'user.name=t', '-c', 'user.email=t@t', ...args], {
        encoding: 'buffer',
        env: { PATH: process.env['PATH'], GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_NOSYSTEM: '1' },
      });
    await git('init', '--quiet');
    await git('add', '.');
    await git('commit', '--quiet', '--message=all');
    const { stdout } = await git('archive', `--format=${format}`, 'HEAD');
    assert.ok((await accept(stdout)).entries >= 8);
  });
}

/** Made by fixtures/make.sh and fixtures/make-libraries.sh with what not every machine has. */
const recorded: readonly (readonly [name: string, entries: number])[] = [
  ['go-pax.tar.gz', 7],
  ['go-gnu.tar.gz', 7],
  ['go.zip.gz', 7],
  ['python-pax.tar.gz', 7],
  ['python-gnu.tar.gz', 7],
  ['node-tar.tar.gz', 8],
  ['python.zip.gz', 7],
  ['python-zip64.zip.gz', 2],
  ['python-zip64-piped.zip.gz', 2],
  ['info-zip.zip.gz', 6],
  ['info-zip-piped.zip.gz', 5],
  ['adm-zip.zip.gz', 6],
  ['archiver.zip.gz', 6],
  ['archiver-zip64.zip.gz', 6],
  ['archiver.tar.gz', 6],
  ['fflate.zip.gz', 3],
  ['jar.zip.gz', 8],
  ['java-util.zip.gz', 3],
  ['java-zipfs.zip.gz', 3],
  ['jszip-streamed.zip.gz', 3],
  ['jszip-whole.zip.gz', 3],
  ['php-phar.tar.gz', 3],
  ['php-phar.zip.gz', 3],
  ['php-zip.zip.gz', 4],
  ['ruby-gem.tar.gz', 4],
  ['tar-fs.tar.gz', 7],
  ['yazl.zip.gz', 3],
  ['yazl-zip64.zip.gz', 3],
];
for (const [name, entries] of recorded) {
  test(`${name}, recorded from the tool, is accepted`, async () => {
    const archive = gunzipSync(await readFile(join(import.meta.dirname, 'fixtures', name)));
    assert.equal((await accept(archive)).entries, entries);
  });
}

test('tar -r, overlapping arguments, -P, a tree of cp -al, a FIFO and odd names are accepted, and become the same tree', async () => {
  await using tree = await makeTree();
  const copy = join(tree.path, 'copy');
  await mkdir(join(tree.path, 'original'));
  await symlink('../Dockerfile', join(tree.path, 'original/link'));
  await writeFile(join(tree.path, 'Icon\r'), 'icon');
  await run('cp', ['-al', join(tree.path, 'original'), copy]);
  await run('mkfifo', [join(tree.path, 'fifo')]);
  await using staging = await Staging.create();
  for (const format of gnuFormats) {
    const path = join(staging.directory, 'ctx.tar');
    const tar = (...args: readonly string[]) =>
      run('tar', ['-C', tree.path, `--format=${format}`, '-f', path, ...args]);
    await tar('-c', '.', 'Dockerfile', 'copy', 'empty', 'big', 'hard');
    await writeFile(join(tree.path, 'Dockerfile'), `FROM scratch\n# ${format}\n`);
    await tar('-r', './Dockerfile');
    await tar('-P', '--transform=s,^,/,', '-r', 'run.sh', 'big', 'hard');
    const archive = await readFile(path);
    await rm(path);
    await using staged = await staging.stageSealed(archive);
    assert.equal(staged.summary.warnings.length, 3);
    await using image = await extractImage(staged.path);
    await run('diff', ['--recursive', '--no-dereference', '--exclude=fifo', tree.path, image.directory]);
  }
});
