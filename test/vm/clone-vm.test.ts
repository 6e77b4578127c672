import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { cloneVm } from '../../src/vm/clone-vm.ts';
import { createProcessLauncher } from '../../src/vm/process-launcher.ts';
import { emulatedProcessor } from '../../src/vm/qemu-arguments.ts';
import { sweepVms } from '../../src/vm/sweep.ts';
import { type Template, templateFiles } from '../../src/vm/template.ts';
import { noImage } from '../images/no-image.ts';

const { signal } = new AbortController();
const image = noImage('none');

type Harness = AsyncDisposable & {
  readonly base: string;
  readonly vmsDirectory: string;
  /** What was left of VMs' folders each time a user was given back. */
  readonly seen: string[][];
  /** Clones a VM whose QEMU is this program. */
  clone(setpriv: string): Promise<unknown>;
};

async function createHarness(): Promise<Harness> {
  const base = await mkdtemp(join(tmpdir(), 'kiln-clone-'));
  const [vmsDirectory, templatesDirectory] = [join(base, 'vms'), join(base, 'templates')];
  for (const path of [vmsDirectory, templatesDirectory]) await mkdir(path);
  const files = templateFiles(templatesDirectory);
  for (const path of [files.overlay, files.state]) await writeFile(path, '');
  const seen: string[][] = [];
  const release = (): void => void seen.push(readdirSync(vmsDirectory));
  const template: Template = {
    key: 'none',
    image,
    authorizedKey: '',
    files,
    sealed: image.sealed,
    hostKey: '',
  };
  const qemu = { binary: '/bin/false', img: '/bin/false', version: '7.2.0', major: 7, minor: 2 };
  return {
    ...{ base, vmsDirectory, seen },
    clone: (setpriv) =>
      cloneVm(
        {
          ...{ installation: 'test', processor: emulatedProcessor, cpus: 1, memoryMiB: 1, diskBytes: 1 },
          ...{ vmsDirectory, templatesDirectory, launcher: createProcessLauncher({ ...qemu, setpriv }) },
          users: { template: null, acquire: () => ({ user: null, release }) },
        },
        template,
        signal,
      ),
    [Symbol.asyncDispose]: () => rm(base, { recursive: true }),
  };
}

test('the user of a VM is given back after its folder is gone', async () => {
  await using harness = await createHarness();
  await assert.rejects(harness.clone('/bin/false'), { code: 'INFRA' });
  assert.deepEqual(harness.seen, [[]]);
});

test('a folder of a VM that cannot be removed is told of, keeps its user, and goes at the next start', async () => {
  await using harness = await createHarness();
  const { base, vmsDirectory } = harness;
  // What is mounted in the folder keeps it there.
  const program = join(base, 'mounts');
  await writeFile(program, '#!/bin/sh\nmkdir busy && mount -t tmpfs none busy\nexit 1\n', { mode: 0o755 });
  const warned = once(process, 'warning', { signal: AbortSignal.timeout(60_000) });
  await assert.rejects(harness.clone(program), { code: 'INFRA' });
  const [name = ''] = await readdir(vmsDirectory);
  const folder = join(vmsDirectory, name);
  await promisify(execFile)('umount', [join(folder, 'busy')]);
  assert.deepEqual(harness.seen, []);
  const [warning] = await warned;
  assert.equal(warning.message, `${folder} could not be removed.`);
  assert.equal(warning.cause.code, 'EBUSY');
  await sweepVms({ installation: 'kiln-clone-test', vmsDirectory }, signal);
  assert.deepEqual(await readdir(vmsDirectory), []);
});
