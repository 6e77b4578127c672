import { createBuilds } from '../../src/builds/create-builds.ts';
import { DiskBudget } from '../../src/host/disk-budget.ts';
import { fleetOfOne } from '../fleet/fleet-of-one.ts';
import { asleep } from '../scheduler/asleep.ts';
import { scheduleOne } from '../scheduler/schedule-one.ts';
import { endless, everyEvent, log, simulateBuilds } from '../simulated-builds.ts';
import { readiness } from '../simulated-service.ts';
import { createFolder } from '../store/harness.ts';
import { type Ending, type OpenedBuilds, testContract } from './contract.ts';
import { openDataFolder, timeouts } from './data-folder.ts';
import { type Guest, simulateVms } from './simulated-vms.ts';

const logger = { info: () => undefined, warn: () => undefined, error: () => undefined };

const guests: Readonly<Record<Ending, (guest: Guest) => void>> = {
  succeeds(guest) {
    guest.log('#1 [internal] load\n');
    guest.say({ vertexes: [{ name: '[internal] load' }] });
    guest.log('#1 DONE 0.1s\n');
    guest.end();
  },
  'goes on': (guest) => guest.log('#1 [internal] load\n'),
};

/** The real use-cases on real files, store and queue; only the VMs are simulated. */
async function openReal(ending: Ending): Promise<OpenedBuilds> {
  await using undo = new AsyncDisposableStack();
  const { path } = undo.use(await createFolder());
  const { store, artifacts, buildsDirectory, openRetention } = undo.use(await openDataFolder(path));
  const retention = undo.use(await openRetention());
  const vms = undo.use(await simulateVms([guests[ending]]));
  const pool = scheduleOne({ size: 0, frozen: 0, max: 1, create: asleep(() => vms.create()), logger });
  undo.defer(() => pool.close());
  const { scheduler } = pool;
  const builds = createBuilds({
    ...{ store, artifacts, retention, scheduler, logger, buildsDirectory },
    ...{ stagingDirectory: path, fleet: await fleetOfOne() },
    ...{ maxArtifactBytes: 1, maxLogBytes: 1024 * 1024, minFreeBytes: 0, timeouts },
    ...{
      readDigest: async () => null,
      disk: new DiskBudget({ directory: path, keepFreeBytes: 0 }),
      vmDiskBytes: 1,
    },
    policy: { customFrontends: true },
    builtinFrontend: false,
    limits: { maxBytes: 1, maxEntries: 1, maxUploadBytes: 1 },
    readiness: () => readiness(true),
  });
  undo.defer(() => {
    builds.abort();
    return builds.drain();
  });
  const resources = undo.move();
  return { builds, [Symbol.asyncDispose]: () => resources.disposeAsync() };
}

async function openSimulated(ending: Ending): Promise<OpenedBuilds> {
  const goesOn = (signal: AbortSignal) => endless([log('#1 [internal] load\n')], signal);
  const builds = simulateBuilds({ script: ending === 'succeeds' ? everyEvent : goesOn });
  return { builds, [Symbol.asyncDispose]: async () => undefined };
}

testContract('the use-cases (simulated VMs)', openReal);
testContract('the simulated use-cases', openSimulated);
