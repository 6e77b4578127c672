import assert from 'node:assert/strict';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { capabilitiesOf } from '../../src/catalog/capabilities.ts';
import { type Entry, findEntry, listArchive } from '../../src/catalog/catalog.ts';
import { parsePins } from '../../src/catalog/pins.ts';
import type { Version } from '../../src/catalog/version.ts';
import { KilnError } from '../../src/model/error.ts';

const images = join(import.meta.dirname, '../../images');

test('the catalog of this repository: oldest first, and the entry that is served has been checked', async () => {
  const entries = await listArchive(images);
  const served = findEntry(entries, 'buildkit-v0.20.2');
  assert.equal(served.state, 'checked');
  assert.equal(served.pins.RUNC_VERSION, '1.2.5');
  assert.equal(findEntry(entries, 'v0.20.2'), served);
  const minors = entries.map(({ version }) => version[1]);
  assert.deepEqual(
    minors,
    minors.toSorted((a, b) => a - b),
  );
});

test('an entry that does not exist is told with the nearest ones', async (t) => {
  const entries = await catalogOf(t, ['v0.9.3', 'v0.10.6', 'v0.12.5', 'v0.20.2']);
  assert.deepEqual(
    entries.map(({ name }) => name),
    ['buildkit-v0.9.3', 'buildkit-v0.10.6', 'buildkit-v0.12.5', 'buildkit-v0.20.2'],
  );
  const nearest = (asked: string): string => {
    const error = caught(() => findEntry(entries, asked));
    assert.ok(error instanceof KilnError);
    assert.deepEqual([error.code, error.details.field], ['BUILDKIT_UNKNOWN', 'entry']);
    return error.message;
  };
  assert.match(nearest('v0.12.4'), /nearest: buildkit-v0\.12\.5, buildkit-v0\.10\.6, buildkit-v0\.9\.3\.$/);
  assert.match(nearest('buildkit-0.9.9'), /nearest: buildkit-v0\.9\.3, buildkit-v0\.10\.6,/);
  assert.match(nearest('latest'), /nearest: buildkit-v0\.20\.2, buildkit-v0\.12\.5, buildkit-v0\.10\.6\.$/);
});

test("a caller's text never becomes a path", async (t) => {
  const entries = await catalogOf(t, ['v0.20.2']);
  for (const asked of [
    '../v0.20.2',
    'buildkit-../buildkit/v0.20.2',
    'buildkit/v0.20.2',
    'v0.20.2/',
    '',
    '\u0000',
  ]) {
    assert.throws(() => findEntry(entries, asked), { code: 'BUILDKIT_UNKNOWN' }, asked);
  }
  assert.throws(() => findEntry(entries, 'v0.1\u001b[2J'), { message: /entry v0\.1\\u001b\[2J;/ });
});

test('a pin that is missing, a state that is none, a folder of another name: each is named', async (t) => {
  assert.throws(() => parsePins('BUILDKIT_VERSION=v1\n', 'x/.env'), {
    code: 'CONFIG_INVALID',
    message: /^x\/\.env: BUILDKIT_REVISION/,
  });
  const text = await readFile(join(images, 'buildkit/v0.20.2/.env'), 'utf8');
  assert.throws(() => parsePins(text.replace('STATE=checked', 'STATE=good'), 'x/.env'), { message: /STATE/ });
  assert.throws(() => parsePins(text.replace(/_HASH=h1:.*/, '_HASH=h1:other'), 'x/.env'), {
    message: /BUILDKIT_MODULE_HASH/,
  });
  await assert.rejects(catalogOf(t, ['v0.20.2'], 'v0.20.1'), {
    code: 'CONFIG_INVALID',
    message: /v0\.20\.1\/\.env: BUILDKIT_VERSION is v0\.20\.2;/,
  });
});

/** Both sides of each step. */
const steps: readonly [name: keyof Entry['capabilities'], before: Version, first: Version][] = [
  ['metadataFile', [0, 8, 3], [0, 9, 0]],
  ['namedContexts', [0, 9, 3], [0, 10, 0]],
  ['ociLayouts', [0, 10, 6], [0, 11, 0]],
  ['sourcePolicy', [0, 10, 6], [0, 11, 0]],
  ['attestations', [0, 10, 6], [0, 11, 0]],
  ['info', [0, 10, 6], [0, 11, 0]],
  ['history', [0, 10, 6], [0, 11, 0]],
  ['networkPool', [0, 10, 6], [0, 11, 0]],
  ['refFile', [0, 11, 1], [0, 11, 2]],
  ['rawJson', [0, 12, 5], [0, 13, 0]],
  ['manyOutputs', [0, 12, 5], [0, 13, 0]],
  ['bridgeNetwork', [0, 12, 5], [0, 13, 0]],
];

for (const [name, before, first] of steps) {
  test(`${name} is there from v${first.join('.')} on`, () => {
    assert.equal(capabilitiesOf(before)[name], false);
    assert.equal(capabilitiesOf(first)[name], true);
    assert.equal(capabilitiesOf([0, 34, 2])[name], true);
  });
}

/** A catalog of copies of the entry that is served, each with its own version; with `folder` the last one lies in another. */
async function catalogOf(t: TestContext, versions: readonly string[], folder?: string): Promise<Entry[]> {
  const directory = await mkdtemp(join(tmpdir(), 'kiln-catalog-'));
  t.after(() => rm(directory, { recursive: true }));
  for (const version of versions) {
    const entry = join(directory, 'buildkit', folder ?? version);
    await mkdir(entry, { recursive: true });
    await cp(join(images, 'buildkit/v0.20.2'), entry, { recursive: true });
    const path = join(entry, '.env');
    const text = await readFile(path, 'utf8');
    await writeFile(path, text.replace('BUILDKIT_VERSION=v0.20.2', `BUILDKIT_VERSION=${version}`));
  }
  return listArchive(directory);
}

function caught(run: () => unknown): unknown {
  try {
    run();
  } catch (error) {
    return error;
  }
  return assert.fail('nothing was thrown');
}
