import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, type TestContext, test } from 'node:test';
import { addEntry } from '../../scripts/entry/add-entry.ts';
import { commitFromRepository, removeRepositories } from '../../scripts/entry/source.ts';
import { runTool } from '../../src/lib/process/run-tool.ts';
import { installTools } from '../install-tools.ts';
import { tied } from '../tied.ts';

/** These ask the module proxy, as the tests do that build BuildKit. */
const root = join(import.meta.dirname, '../..');

before(() => installTools([{ find: 'go', package: 'golang-go' }]));

test('a release with a module that is served no more is refused with its name, and nothing is written', async (t) => {
  const images = await emptyCatalog(t);
  await assert.rejects(addEntry(images, 'v0.9.3'), {
    name: 'ModuleMissing',
    message: /^github\.com\/moby\/buildkit@v0\.9\.3 is built from what cannot be had: github\.com\//,
  });
  assert.deepEqual(await readdir(images), []);
});

test('a release that does not exist is refused by its name; what is no version is asked of nobody', async (t) => {
  const images = await emptyCatalog(t);
  await assert.rejects(addEntry(images, 'v0.999.0'), {
    name: 'ModuleMissing',
    message: /^github\.com\/moby\/buildkit@v0\.999\.0: /,
  });
  await assert.rejects(addEntry(images, '../v0.20.2'), { message: 'a version looks like v0.21.1' });
  assert.deepEqual(await readdir(images), []);
});

test('an entry that is there stays as it is', async (t) => {
  const images = await emptyCatalog(t);
  await cp(join(root, 'images/buildkit'), join(images, 'buildkit'), { recursive: true });
  await assert.rejects(addEntry(images, 'v0.20.2'), { message: /^there already: / });
  const file = 'buildkit/v0.20.2/.env';
  assert.equal(
    await readFile(join(images, file), 'utf8'),
    await readFile(join(root, 'images', file), 'utf8'),
  );
});

test('a commit is believed where Go makes the same module from it, and only then', async (t) => {
  const repository = await mkdtemp(join(tmpdir(), 'kiln-repository-'));
  t.after(() => rm(repository, { recursive: true }));
  t.after(removeRepositories);
  const git = (...args: string[]): Promise<string> =>
    runTool('git', ['-C', repository, ...args], new AbortController().signal);
  await git('init', '--quiet');
  const path = 'github.com/example-of-kiln/module';
  const goMod = `module ${path}\n`;
  await writeFile(join(repository, 'go.mod'), goMod);
  await git('add', '.');
  await git('-c', 'user.name=kiln', '-c', 'user.email=kiln@localhost', 'commit', '--quiet', '-m', 'all');
  await git('tag', 'v0.1.0');
  const commit = (await git('rev-parse', 'HEAD')).trim();
  useMirror(t, `https://${path}`, repository);

  const files = `${createHash('sha256').update(goMod).digest('hex')}  ${path}@v0.1.0/go.mod\n`;
  const hash = `h1:${createHash('sha256').update(files).digest('base64')}`;
  assert.equal(await commitFromRepository({ path, version: 'v0.1.0', hash }), commit);
  assert.equal(await commitFromRepository({ path, version: 'v0.1.0', hash: 'h1:other' }), null);
  assert.equal(await commitFromRepository({ path, version: 'v0.2.0', hash }), null);
});

test('the command lists the catalog, and says its use where it is called wrongly', async () => {
  const listed = await runEntry('list');
  assert.equal(listed.status, 0);
  assert.match(listed.output, /^buildkit-v0\.20\.2 +runc 1\.2\.5 +go1\.22\.12 +checked$/m);
  assert.deepEqual(await runEntry('--help'), { status: 0, output: (await runEntry('add')).output });
  assert.equal((await runEntry('add')).status, 2);
  assert.equal((await runEntry('add', 'v0.20.2')).status, 1);
});

/** As an operator names a mirror to git. */
function useMirror(t: TestContext, address: string, repository: string): void {
  const settings = {
    GIT_CONFIG_COUNT: '1',
    GIT_CONFIG_KEY_0: `url.file://${repository}.insteadOf`,
    GIT_CONFIG_VALUE_0: address,
  };
  const before = Object.keys(settings).map((name) => [name, process.env[name]] as const);
  Object.assign(process.env, settings);
  t.after(() => {
    for (const [name, value] of before) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  });
}

async function emptyCatalog(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'kiln-add-entry-'));
  t.after(() => rm(directory, { recursive: true }));
  return directory;
}

async function runEntry(...args: readonly string[]): Promise<{ status: number | null; output: string }> {
  const child = spawn(...tied(process.execPath, [join(root, 'scripts/entry.ts'), ...args]));
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  }
  const status = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  return { status, output };
}
