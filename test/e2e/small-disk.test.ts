import assert from 'node:assert/strict';
import { copyFile, mkdir, open, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { localAdmin } from '../../src/model/caller.ts';
import { capture } from '../../src/ssh/capture.ts';
import { ensureKeyPair } from '../../src/ssh/keys.ts';
import { createSmallDisk } from '../small-disk.ts';
import { build, startRegistry, startTestService, testData, waitUntilReady } from './harness.ts';

/** A service whose data lies on a disk too small for what one build may write: VMs there are those of a newcomer's laptop. */
const signal = new AbortController().signal;
const resources = new AsyncDisposableStack();
const disk = resources.use(await createSmallDisk(600));
// The template of the other tests, as each disk would need its own else.
await mkdir(join(testData, 'templates'), { recursive: true, mode: 0o711 });
await ensureKeyPair(testData);
await symlink(join(testData, 'templates'), join(disk.path, 'templates'));
await copyFile(join(testData, 'ssh_ed25519'), join(disk.path, 'ssh_ed25519'));
const registry = resources.use(await startRegistry());
const service = resources.use(
  await startTestService({
    mirror: registry.url,
    env: { KILN_DATA_DIR: disk.path, KILN_MIN_FREE_BYTES: String(64 * 1024 * 1024), KILN_MAX_VMS: '3' },
  }),
);
after(() => resources.disposeAsync());
await waitUntilReady(service);

test('a build that fills the disk fails by itself; one that waited for it succeeds', async () => {
  const fill = build(service, { Dockerfile: 'FROM busybox\nRUN dd if=/dev/zero of=/fill bs=1M\n' });
  const other = build(service, { Dockerfile: 'FROM busybox\nRUN echo fine\n' });
  const [filled, served] = await Promise.all([fill, other]);
  const { state, verdict } = await service.builds.get(localAdmin, filled.id);
  assert.deepEqual([state, verdict?.code], ['failed', 'DISK_FULL'], filled.body);
  assert.equal(served.exit, 0, served.body);
});

test('a disk that is full is an I/O error in the guest that writes, which goes on living', async () => {
  await using lease = await service.pool.acquire(signal);
  const ballast = join(disk.path, 'ballast');
  await fillDisk(ballast);
  const write = 'dd if=/dev/zero of=/dev/vda bs=1M count=8 seek=2000 oflag=direct 2>&1';
  const said = await capture(lease.vm.connection, `${write} || true; echo alive`, { signal });
  await rm(ballast);
  assert.match(said, /Input\/output error[\s\S]*alive\n$/);
});

async function fillDisk(path: string): Promise<void> {
  await using file = await open(path, 'w');
  const block = Buffer.alloc(64 * 1024, 1);
  for (;;) {
    try {
      await file.write(block);
    } catch {
      return;
    }
  }
}
