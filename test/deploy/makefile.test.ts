import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, beforeEach, test } from 'node:test';
import { installTools } from '../install-tools.ts';
import { tied } from '../tied.ts';

/** What the Makefile asks of docker; a client that only notes it stands in. The real one makes the images in the soak. */
const root = join(import.meta.dirname, '../..');
let folder: string;
let said: string;

before(async () => {
  await installTools([{ find: 'make', package: 'make' }]);
  folder = await mkdtemp(join(tmpdir(), 'kiln-make-'));
  said = join(folder, 'said');
  await simulateDocker('');
});
beforeEach(() => writeFile(said, ''));
after(() => rm(folder, { recursive: true }));

/** @param also Shell that decides how some commands end; `$*` is what was asked. */
async function simulateDocker(also: string): Promise<void> {
  const script = `#!/bin/sh\necho "$*" >>'${said}'\n${also}\ncase $* in *imagetools*) exit 1 ;; esac\n`;
  await writeFile(join(folder, 'docker'), script, { mode: 0o755 });
}

async function make(
  ...words: readonly string[]
): Promise<{ status: number; output: string; asked: string[] }> {
  const args = [
    '--no-print-directory',
    '-C',
    root,
    `DOCKER=${join(folder, 'docker')}`,
    `OUT=${folder}/out`,
    'RETRY_SECONDS=0',
    ...words,
  ];
  const child = spawn(...tied('make', args), { stdio: ['ignore', 'pipe', 'pipe'] });
  const [out, errors, [status]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'close') as Promise<[number]>,
  ]);
  const asked = (await readFile(said, 'utf8')).split('\n').filter((line) => line !== '');
  return { status, output: out + errors, asked };
}

/** The words of one call, without the pins. */
const short = (line: string): string => line.replaceAll(/ --build-arg [A-Z_0-9]+=\S*/g, '');

test('all is clean, ctr, vm, dqd and push, each with its time', async () => {
  const { status, output, asked } = await make('all', 'DIR=buildkit/v0.12.5', 'REPO=r.example/a', 'SIZE=9G');
  assert.equal(status, 0, output);
  assert.deepEqual(
    [...output.matchAll(/^(\w+): \d+ s$/gm)].map(([, name]) => name),
    [
      ...['clean', 'ctr', 'vm'],
      // Whoever makes the VM for it: the simulated one leaves no file.
      ...['vm', 'dqd', 'push', 'all'],
    ],
  );
  const calls = asked.filter((line) => !line.startsWith('image rm')).map(short);
  assert.deepEqual(calls, [
    'buildx build --load --target ctr -t r.example/a:ctr_buildkit-v0.12.5_v0.1.0 -t r.example/a:ctr_buildkit-v0.12.5 images',
    `buildx build --target vm --output type=local,dest=${folder}/out images`,
    `buildx build --target vm --output type=local,dest=${folder}/out images`,
    `buildx build --load --target dqd --build-context made-vm=${folder}/out -t r.example/a:buildkit-v0.12.5_v0.1.0 -t r.example/a:buildkit-v0.12.5 images`,
    'buildx imagetools inspect r.example/a:buildkit-v0.12.5_v0.1.0',
    'push r.example/a:ctr_buildkit-v0.12.5_v0.1.0',
    'push r.example/a:ctr_buildkit-v0.12.5',
    'push r.example/a:buildkit-v0.12.5',
    'push r.example/a:buildkit-v0.12.5_v0.1.0',
  ]);
  const ctr = asked.find((line) => line.includes('--target ctr')) ?? '';
  assert.match(ctr, / --build-arg BUILDKIT_VERSION=v0\.12\.5 /);
  assert.match(ctr, / --build-arg RUNC_MODULE_HASH=h1:\S+= /);
  assert.doesNotMatch(ctr, /STATE/);
  assert.match(asked.find((line) => line.includes('--target dqd')) ?? '', / --build-arg DISK_SIZE=9G /);
});

test('what fails ends all, in the target that failed', async () => {
  await simulateDocker('case $* in *"--target ctr"*) exit 3 ;; esac');
  const { status, asked } = await make('all');
  await simulateDocker('');
  assert.equal(status, 2);
  assert.ok(!asked.some((line) => line.includes('--target vm')), asked.join('\n'));
});

test('a push is retried three times, then given up by name', async () => {
  await simulateDocker(`case $* in push*) [ "$(grep -c ^push '${said}')" -gt 3 ] || exit 1 ;; esac`);
  const late = await make('push');
  assert.equal(late.status, 0, late.output);
  assert.equal(late.output.match(/^retry \d of 3 in 0 s$/gm)?.length, 3);
  await writeFile(said, '');
  await simulateDocker('case $* in push*) exit 1 ;; esac');
  const never = await make('push');
  await simulateDocker('');
  assert.equal(never.status, 2);
  assert.equal(never.asked.filter((line) => line.startsWith('push')).length, 4);
  assert.match(never.output, /^ctr_buildkit-v0\.20\.2_v0\.1\.0 could not be pushed, 3 retries included$/m);
});

test('a version that is published already is not replaced unless that is forced', async () => {
  await simulateDocker('case $* in *imagetools*) exit 0 ;; esac');
  const refused = await make('push');
  assert.equal(refused.status, 2);
  assert.match(
    refused.output,
    /is published, and versions do not change: choose another VERSION, or FORCE=1/,
  );
  assert.ok(!refused.asked.some((line) => line.startsWith('push')));
  const forced = await make('push', 'FORCE=1');
  await simulateDocker('');
  assert.equal(forced.status, 0, forced.output);
});

test('a folder that is no archive entry is named, and so is what there is to say', async () => {
  const { status, output } = await make('all', 'DIR=buildkit/v9');
  assert.equal(status, 2);
  assert.match(
    output,
    /There is no images\/buildkit\/v9\/\.env; DIR is a folder of images\/, such as buildkit\/v0\.20\.2/,
  );
  const help = await make();
  assert.equal(help.status, 0);
  assert.match(help.output, /^make all DIR=buildkit\/v0\.20\.2 REPO=/);
});
