import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import { KilnError } from '../../src/model/error.ts';
import { compress, installCompressors } from './compress.ts';
import { extractImage, listTree } from './image.ts';
import { inChunks, Staging } from './staging.ts';
import { gnuLong, pax, type RawMember, raw, tar } from './tar.ts';
import { zip } from './zip.ts';

await installCompressors();
const run = promisify(execFile);

type Kind = 'file' | 'folder' | 'symlink' | 'hardlink';
type Item = {
  readonly kind: Kind;
  readonly path: string;
  readonly content: string;
  readonly target: string;
  readonly mode: number;
  readonly mtime: number;
  readonly form: 'ustar' | 'gnu' | 'pax';
};

/** So few that names come again, and lie below one another. */
const part = fc.constantFrom('a', 'b', 'c', 'naïve 日本', 'Icon\r', '-rf', '...');
const path = fc.array(part, { minLength: 1, maxLength: 3 }).map((parts) => parts.join('/'));
const item: fc.Arbitrary<Item> = fc.record({
  kind: fc.constantFrom<Kind>('file', 'file', 'folder', 'symlink', 'hardlink'),
  path,
  content: fc.oneof(fc.constant(''), fc.string({ maxLength: 1500 })),
  target: fc.oneof(path, fc.constantFrom('../outside', '/etc/passwd', 'x'.repeat(150))),
  mode: fc.constantFrom(0o644, 0o755, 0o600, 0o4755, 0o1777, 0o400),
  mtime: fc.integer({ min: 0, max: 2 ** 32 }),
  form: fc.constantFrom('ustar', 'gnu', 'pax'),
});
/** What the same name may be written as. */
const written = fc.constantFrom('', './', '/', '//', './/./');
const packing = fc.constantFrom('none', 'gzip', 'two of gzip', 'zstd', 'bzip2', 'xz');

test('any tar becomes the tree that GNU tar makes of it, or is refused for a reason that it has', async () => {
  await using staging = await Staging.create();
  const outcomes = { accepted: 0, refused: 0 };
  const list = fc.array(fc.tuple(item, written), { minLength: 1, maxLength: 12 });
  const property = fc.asyncProperty(
    list,
    packing,
    fc.integer({ min: 1, max: 5000 }),
    async (items, how, size) => {
      fc.pre(!isGnuQuirk(items.map(([one]) => one)));
      const archive = tar(...items.map(([one, prefix]) => encode(one, prefix)));
      const upload = await pack(archive, how);
      const reason = refusalOf(items.map(([one]) => one));
      try {
        await using staged = await staging.stageSealed(inChunks(upload, size));
        assert.equal(reason, null);
        assert.equal(staged.summary.size, archive.length);
        await using image = await extractImage(staged.path);
        await using wanted = await extractTar(archive);
        assert.deepEqual(await describe(image.directory), await describe(wanted.directory));
        await run('diff', ['--recursive', '--no-dereference', wanted.directory, image.directory]);
        outcomes.accepted += 1;
      } catch (error) {
        if (!(error instanceof KilnError)) throw error;
        assert.equal(error.code, reason, error.message);
        outcomes.refused += 1;
      }
      assert.deepEqual(await staging.files(), []);
    },
  );
  await fc.assert(property, { numRuns: 150 });
  assert.ok(outcomes.accepted > 30 && outcomes.refused > 10, JSON.stringify(outcomes));
});

/**
 * GNU tar makes symbolic links that lead out of the folder last of all, and then may not see that another member has taken the name:
 * the first target wins, once in a while. For docker, and here, the last member of a name counts.
 */
function isGnuQuirk(items: readonly Item[]): boolean {
  const late = items.filter(({ kind, target }) => kind === 'symlink' && /^(\/|\.\.)/.test(target));
  return late.some(({ path: name }) => items.filter((other) => other.path === name).length > 1);
}

test('any zip becomes the tree that it lists', async () => {
  await using staging = await Staging.create();
  const member = fc.record({ one: item, method: fc.constantFrom(0, 8), described: fc.boolean() });
  const list = fc.array(member, { minLength: 1, maxLength: 12 });
  const property = fc.asyncProperty(list, fc.boolean(), async (members, zip64) => {
    // Only a tar has hard links, and may say a name again.
    const kept = members
      .map((given) =>
        given.one.kind === 'hardlink' ? { ...given, one: { ...given.one, kind: 'file' as const } } : given,
      )
      .filter(({ one }, index, all) => all.findIndex((other) => other.one.path === one.path) === index);
    const reason = refusalOf(kept.map(({ one }) => one));
    const upload = zip(
      kept.map(({ one: { kind, ...rest }, method, described }) => ({
        ...{ method, described },
        name: kind === 'folder' ? `${rest.path}/` : rest.path,
        content: kind === 'symlink' ? rest.target : kind === 'file' ? rest.content : '',
        mode: zipModes[kind] | (kind === 'symlink' ? 0o777 : rest.mode),
      })),
      { zip64 },
    );
    try {
      await using staged = await staging.stageSealed(upload);
      assert.equal(reason, null);
      await using image = await extractImage(staged.path);
      const listed = kept.map(({ one }) => describeItem(one));
      const found = await listTree(image.directory, '%y %m %P -> %l');
      for (const line of listed) assert.ok(found.includes(line), line);
      assert.equal(
        found.filter((line) => !line.startsWith('d ')).length,
        listed.filter((line) => !line.startsWith('d ')).length,
      );
      for (const { one } of kept.filter((given) => given.one.kind === 'file'))
        assert.equal(await readFile(join(image.directory, one.path), 'utf8'), one.content);
    } catch (error) {
      if (!(error instanceof KilnError)) throw error;
      assert.equal(error.code, reason, error.message);
    }
    assert.deepEqual(await staging.files(), []);
  });
  await fc.assert(property, { numRuns: 100 });
});

const zipModes = { file: 0o100000, folder: 0o040000, symlink: 0o120000, hardlink: 0 };
const types = { file: 'f', folder: 'd', symlink: 'l', hardlink: 'f' };

function describeItem({ kind, path, mode, target }: Item): string {
  return kind === 'symlink' ? `l 777 ${path} -> ${target}` : `${types[kind]} ${mode.toString(8)} ${path} -> `;
}

/** The code of the first rule that a list of members breaks; the rules in their plainest form. */
function refusalOf(items: readonly Item[]): string | null {
  const known = new Map<string, Exclude<Kind, 'hardlink'>>();
  for (const { kind, path, target } of items) {
    const parts = path.split('/');
    for (let depth = 1; depth < parts.length; depth += 1) {
      const above = parts.slice(0, depth).join('/');
      if (known.get(above) === 'symlink') return 'ENTRY_THROUGH_LINK';
      if (known.get(above) === 'file') return 'ENTRY_CONFLICT';
      known.set(above, 'folder');
    }
    const before = known.get(path);
    if (before && (before === 'folder') !== (kind === 'folder')) return 'ENTRY_CONFLICT';
    const now = kind === 'hardlink' ? known.get(target) : kind;
    if (now === undefined || (kind === 'hardlink' && now === 'folder')) return 'HARDLINK_TARGET';
    if (before && before !== now) return 'ENTRY_CONFLICT';
    known.set(path, now);
  }
  return null;
}

const typeFlags = { file: '0', hardlink: '1', symlink: '2', folder: '5' };
const fieldBytes = 100;

function encode({ kind, path, content, target, mode, mtime, form }: Item, prefix: string): Buffer {
  const name = `${prefix}${path}`;
  const link = kind === 'symlink' || kind === 'hardlink' ? target : '';
  const member: RawMember = {
    ...{ type: typeFlags[kind], content: kind === 'file' ? content : '' },
    mode: `${mode.toString(8).padStart(7, '0')}\0`,
    mtime: `${mtime.toString(8).padStart(11, '0')}\0`,
  } as RawMember;
  if (form === 'ustar' && link.length <= fieldBytes) return raw({ ...member, name, target: link });
  if (form === 'gnu') {
    const long = [gnuLong('L', name), ...(link === '' ? [] : [gnuLong('K', link)])];
    return Buffer.concat([...long, raw({ ...member, name: 'short', target: 'short', magic: 'ustar  \0' })]);
  }
  const records = { path: name, ...(link === '' ? {} : { linkpath: link }), mtime: `${mtime}.123456789` };
  return Buffer.concat([pax(records), raw({ ...member, name: 'short', target: 'short' })]);
}

async function pack(archive: Buffer, how: string): Promise<Buffer> {
  const middle = archive.length >> 1;
  if (how === 'gzip') return gzipSync(archive);
  if (how === 'two of gzip')
    return Buffer.concat([gzipSync(archive.subarray(0, middle)), gzipSync(archive.subarray(middle))]);
  if (how === 'zstd') return zstdCompressSync(archive);
  return how === 'none' ? archive : compress(how, archive);
}

async function extractTar(archive: Buffer): Promise<AsyncDisposable & { readonly directory: string }> {
  const directory = await mkdtemp(join(tmpdir(), 'kiln-extracted-'));
  const running = run('tar', ['--extract', '--preserve-permissions', '--no-same-owner', '-C', directory]);
  running.child.stdin?.end(archive);
  await running;
  return { directory, [Symbol.asyncDispose]: () => rm(directory, { recursive: true }) };
}

/** Types, modes and targets of all, times of all but folders: those that are only named have none. */
async function describe(directory: string): Promise<readonly string[][]> {
  const times = await listTree(directory, '%y %P %Ts');
  return [await listTree(directory, '%y %m %P -> %l'), times.filter((line) => !line.startsWith('d '))];
}
