import { localAdmin } from '../../src/model/caller.ts';
import { build, type TestService } from '../e2e/harness.ts';
import { type Bench, median, type Row, time, waitUntilWarm } from './measure.ts';
import { startInVmNetwork } from './vm-network.ts';

const rounds = 7;

/** What it costs a build that each of its steps has a network of its own: against the network of the VM, in turns. */
export const benchStepNetworks: Bench = async (service, surroundings) => {
  await using other = await startInVmNetwork(surroundings);
  const rows: Row[] = [];
  for (const steps of [1, 10]) {
    const [own, shared]: [number[], number[]] = [[], []];
    for (let round = 0; round < rounds; round += 1) {
      own.push(await timeBuild(service, steps, 'bridge'));
      shared.push(await timeBuild(other.service, steps, 'vm'));
    }
    const [kiln, baseline] = [median(own), median(shared)];
    rows.push({
      what: `build of ${steps === 1 ? 'one step' : `${steps} steps`}, a network for each : the VM's network`,
      ...{ kiln, baseline, unit: 'ms', ratio: kiln / baseline },
      goal: steps === 1 ? ['ratio', '≤', 1.05] : null,
    });
  }
  return rows;
};

async function timeBuild(service: TestService, steps: number, network: 'bridge' | 'vm'): Promise<number> {
  const lines = Array.from({ length: steps }, (_, index) => `RUN true ${index}`);
  const files = { Dockerfile: `FROM busybox\n${lines.join('\n')}\n` };
  await waitUntilWarm(service);
  let id = '';
  const ms = await time(async () => {
    const answer = await build(service, files);
    if (answer.exit !== 0) throw new Error(answer.body);
    id = answer.id;
  });
  const { vm } = await service.builds.get(localAdmin, id);
  if (vm?.network !== network)
    throw new Error(`The steps had the network '${vm?.network}', not '${network}'.`);
  return ms;
}
