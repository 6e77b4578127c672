import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { SealedFiles } from '../../src/lib/sealed-files.ts';
import { Containers } from '../../src/vm/docker/containers.ts';
import { connectDocker } from '../../src/vm/docker/engine.ts';
import { requireVmImage } from '../../src/vm/docker/require-vm-image.ts';
import { startDockerEngine, type TestEngine } from '../docker-engine.ts';
import { noImage } from '../images/no-image.ts';

const run = promisify(execFile);
const { signal } = new AbortController();
const logger = { info: () => undefined, warn: () => undefined, error: console.error };
const names = ['kernel', 'initrd', 'disk.qcow2'];
const image = {
  ...noImage('buildkit-v0.20.2'),
  sealed: new SealedFiles(
    Object.fromEntries(
      names.map((name) => [`/cache/${name}`, createHash('sha256').update(name).digest('hex')]),
    ),
    { record: null },
  ),
};

let dockerd: TestEngine;
let containers: Containers;
before(async () => {
  dockerd = await startDockerEngine();
  const engine = await connectDocker({ host: dockerd.host, certificates: null });
  containers = new Containers(engine, { installation: 'looks', logger });
  await containers.open(signal);
});
after(async () => {
  await containers[Symbol.asyncDispose]();
  await dockerd[Symbol.asyncDispose]();
});

/** Looks at an image that has these files as its VM image, and nothing that could run. */
async function look(name: string, files: Readonly<Record<string, string>>): Promise<void> {
  const root = join(dockerd.directory, name);
  await mkdir(join(root, 'vm'), { recursive: true });
  for (const [file, text] of Object.entries(files)) await writeFile(join(root, 'vm', file), text);
  await run('sh', ['-c', `tar -c -C ${root} . | docker --host ${dockerd.host} import - ${name}:1`]);
  const id = await dockerd.docker('image', 'inspect', '--format={{.Id}}', `${name}:1`);
  try {
    await requireVmImage(containers, { id, reference: `${name}:1`, folder: '/vm', image }, signal);
  } finally {
    assert.equal(await dockerd.docker('ps', '--all', '--quiet'), '', 'a container is left');
  }
}

test('a dqd image that holds the VM image of this host is taken, read from a container that never starts', async () => {
  await look('same', { ...Object.fromEntries(names.map((name) => [name, name])), 'versions.json': '{}' });
});

for (const [title, name, files, message] of [
  [
    'holds another disk',
    'other',
    { kernel: 'kernel', initrd: 'initrd', 'disk.qcow2': 'another' },
    /^KILN_DQD_IMAGES: other:1 holds another VM image than this host has of buildkit-v0\.20\.2: its \/vm\/disk\.qcow2 is another than that\. /,
  ],
  [
    'holds no kernel',
    'part',
    { initrd: 'initrd', 'disk.qcow2': 'disk.qcow2' },
    /its \/vm\/kernel is none\. /,
  ],
] as const) {
  test(`one that ${title} is refused by name`, async () => {
    await assert.rejects(look(name, files), { code: 'CONFIG_INVALID', message });
  });
}
