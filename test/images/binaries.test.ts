import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { findEntry, listArchive } from '../../src/catalog/catalog.ts';
import type { Pins } from '../../src/catalog/pins.ts';
import { ensureBinaries } from '../../src/images/binaries.ts';
import { imageRequest } from './image-request.ts';

/** Stands in for the three minutes of the real script, which test/images/vm-image.test.ts covers; the step around it is real. */
const stub = `set -eu
mkdir -p "$1" "$GOMODCACHE" "$GOCACHE"
echo "$BUILDKIT_VERSION $BUILDKIT_MODULE_HASH" >"$1/buildkitd"
`;

let directory: string;
let pins: Pins;
const script = (): string => join(directory, 'images', 'build-binaries.sh');

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'kiln-binaries-'));
  await mkdir(join(directory, 'images'));
  ({ pins } = findEntry(
    await listArchive(fileURLToPath(new URL('../../images', import.meta.url))),
    'buildkit-v0.20.2',
  ));
  await writeFile(join(directory, 'images', 'go-modules.sh'), '');
});
after(() => rm(directory, { recursive: true }));

test('whoever builds binaries is told which programs that takes', async () => {
  await writeFile(script(), 'echo "go: not found" >&2; exit 127\n');
  const request = imageRequest({
    ...{ cacheDirectory: join(directory, 'cache'), imagesDirectory: join(directory, 'images') },
    ...{ asRoot: false, path: '/nowhere' },
  });
  await assert.rejects(ensureBinaries(request, pins), {
    code: 'REQUIREMENT_MISSING',
    message: /^Missing on this machine: go, .* sudo apt-get install .* golang-go /,
  });
});

test('binaries are built once; a changed pin, hash or script builds them anew', async () => {
  await writeFile(script(), stub);
  const first = await ensure(pins);
  assert.equal(
    await readFile(join(first, 'out/buildkitd'), 'utf8'),
    `v0.20.2 ${pins.BUILDKIT_MODULE_HASH}\n`,
  );

  await writeFile(script(), stub);
  assert.equal(await ensure(pins), first);

  const otherHash = { ...pins, BUILDKIT_MODULE_HASH: 'h1:other' };
  const second = await ensure(otherHash);
  assert.equal(await readFile(join(second, 'out/buildkitd'), 'utf8'), 'v0.20.2 h1:other\n');

  await writeFile(script(), `${stub}# changed\n`);
  assert.ok(![first, second].includes(await ensure(pins)));
  const third = await ensure(pins);
  await writeFile(join(directory, 'images', 'go-modules.sh'), '# changed\n');
  assert.notEqual(await ensure(pins), third);
  assert.equal(await ensure({ ...pins, DEBIAN_SUITE: 'trixie' }), await ensure(pins), 'not an input');
});

test('what an interrupted build left is gone, and the next one succeeds', async () => {
  const started = join(directory, 'started');
  await writeFile(script(), `touch "$1" 2>/dev/null; : >${started}; sleep 1000\n`);
  const controller = new AbortController();
  const running = ensure(pins, controller.signal);
  running.catch(() => undefined);
  while (!(await readdir(directory)).includes('started')) await sleep(10);
  const reason = new Error('stop');
  controller.abort(reason);
  await assert.rejects(running, reason);
  const left = await readdir(join(directory, 'binaries'));
  assert.ok(!left.some((name) => name.startsWith('unfinished-')));
  await writeFile(script(), `${stub}# again\n`);
  await ensure(pins);
});

test('two starts at once build once, and the second says that it waits', async () => {
  const release = join(directory, 'release');
  const count = join(directory, 'count');
  await writeFile(script(), `${stub}echo made >>${count}\nwhile [ ! -e ${release} ]; do sleep 0.05; done\n`);
  const waits = Promise.withResolvers<string>();
  const progress = (line: string): void => {
    if (line.includes('waiting')) waits.resolve(line);
  };
  const both = Promise.all([ensure(pins, undefined, progress), ensure(pins, undefined, progress)]);
  assert.match(await waits.promise, /^binaries {2}.*another kiln is making it/);
  await writeFile(release, '');
  const [first, second] = await both;
  assert.equal(first, second);
  assert.equal(await readFile(count, 'utf8'), 'made\n');
});

function ensure(
  chosen: Pins,
  signal: AbortSignal = new AbortController().signal,
  progress: (line: string) => void = () => undefined,
): Promise<string> {
  const imagesDirectory = join(directory, 'images');
  const request = imageRequest({ imagesDirectory, cacheDirectory: directory, progress, signal });
  return ensureBinaries(request, chosen);
}
