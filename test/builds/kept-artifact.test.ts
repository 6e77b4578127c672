import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { raceAbort } from '../../src/lib/abort.ts';
import type { BuildRecord } from '../../src/model/build.ts';
import type { Builds } from '../../src/model/builds.ts';
import { localAdmin } from '../../src/model/caller.ts';
import { type BuildSpecInput, parseSpec } from '../../src/model/spec.ts';
import { createFolder } from '../store/harness.ts';
import { startDurable } from './durable-service.ts';
import type { Script } from './simulated-vms.ts';

const { signal } = new AbortController();
const emptyTar = Buffer.alloc(1024);

const succeed: Script = async (guest) => {
  await guest.writeArtifact(emptyTar);
  guest.end({ artifactBytes: emptyTar.length });
};
const fail: Script = (guest) => guest.end({ exitCode: 1 });

async function start(builds: Builds, spec: BuildSpecInput): Promise<string> {
  const dockerfile = Buffer.from('FROM scratch\n');
  return (await builds.start(localAdmin, { spec: parseSpec(spec), context: null, dockerfile })).id;
}

async function waitForEnd(builds: Builds, id: string): Promise<BuildRecord> {
  const all = { logOffset: 0, eventOffset: 0, follow: true, signal };
  await Array.fromAsync(await builds.watch(localAdmin, id, all));
  return builds.get(localAdmin, id);
}

test('while its artifact is checked and kept a build has nothing to print: its silence is not counted (simulated VMs)', async () => {
  await using folder = await createFolder();
  const { builds, stop } = await startDurable(folder.path, {
    script: succeed,
    keep:
      (store) =>
      async (...given) => {
        await sleep(1500);
        return store.keep(...given);
      },
  });
  const id = await start(builds, { outputs: [{ type: 'oci' }], noOutputTimeoutSeconds: 1 });
  const { state, verdict } = await waitForEnd(builds, id);
  assert.equal(state, 'succeeded', verdict?.message);
  await stop();
});

test('what an attempt kept that the service did not outlive is not what the next one built (simulated VMs)', async () => {
  await using folder = await createFolder();
  const kept = Promise.withResolvers<void>();
  const first = await startDurable(folder.path, {
    script: succeed,
    keep: (store) => async (claim, record, until) => {
      await store.keep(claim, record, until);
      kept.resolve();
      return raceAbort(new Promise(() => undefined), until);
    },
  });
  const id = await start(first.builds, { outputs: [{ type: 'oci' }] });
  await kept.promise;
  await first.stop();

  const second = await startDurable(folder.path, { script: fail });
  const { state, artifact, imageDigest } = await waitForEnd(second.builds, id);
  assert.deepEqual({ state, artifact, imageDigest }, { state: 'failed', artifact: null, imageDigest: null });
  await assert.rejects(second.builds.artifact(localAdmin, id), { code: 'NOT_FOUND' });
  await second.stop();
  await (await startDurable(folder.path, { script: fail })).stop();
  assert.deepEqual(await readdir(join(folder.path, 'artifacts/sha256')), [], 'it is swept at the next start');
});
