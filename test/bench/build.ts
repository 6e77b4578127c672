import { buildctlArguments } from '../../src/buildkit/buildctl-arguments.ts';
import type { WarmVm } from '../../src/guest/warm-vm.ts';
import { parseSpec } from '../../src/model/spec.ts';
import { createContext, type TestService } from '../e2e/harness.ts';
import { type Bench, median, plainSsh, shell, time, waitUntilWarm } from './measure.ts';

const signal = new AbortController().signal;
const directory = '/var/lib/kiln/build/context';

/** Builds through kiln and by hand, in turns, each in a VM that has built nothing: the times of the runs, in ms. */
async function compareBuilds(
  service: TestService,
  files: Readonly<Record<string, string>>,
  rounds: number,
): Promise<{ kiln: number[]; baseline: number[] }> {
  await using context = await createContext(files);
  const [kiln, baseline]: [number[], number[]] = [[], []];
  for (let round = 0; round < rounds; round += 1) {
    await waitUntilWarm(service);
    kiln.push(await time(() => shell(`curl -sSN -F context=@${context.archive} ${service.httpUrl}/build`)));
    await waitUntilWarm(service);
    await using lease = await service.pool.acquire(signal);
    await using ssh = await plainSsh(lease.vm);
    const remote = `mkdir -p ${directory} && tar -xzC ${directory} && ${buildctlLine(lease.vm)} 2>&1`;
    baseline.push(await time(() => shell(`${ssh.command} "${remote}" <${context.archive}`)));
  }
  return { kiln, baseline };
}

/** What kiln runs in the guest, without the trace and the metadata that only kiln asks for. */
function buildctlLine({ capabilities }: Pick<WarmVm, 'capabilities'>): string {
  const words = buildctlArguments(parseSpec({}), { capabilities, dockerfileApart: false });
  const plain = words.filter((word) => !word.startsWith('--trace') && !word.startsWith('--metadata'));
  return `buildctl ${plain.map((word) => `'${word}'`).join(' ')}`;
}

/** The whole of a trivial build: curl to kiln against a tar and the same buildctl line over plain ssh into such a VM. */
export const benchBuild: Bench = async (service) => {
  const times = await compareBuilds(service, { Dockerfile: 'FROM scratch\nCOPY Dockerfile /\n' }, 11);
  const [kiln, baseline] = [median(times.kiln), median(times.baseline)];
  const what = 'trivial build through kiln : buildctl over plain ssh';
  return [{ what, kiln, baseline, unit: 'ms', ratio: kiln / baseline, goal: ['ratio', '≤', 1.15] }];
};

/** More would fail under emulation, by hand too: v0.20.2 gives its log three seconds after the build's end (moby/buildkit #6940). */
const lines = 20_000;

/** One step that prints: lines a second from the step's command to the client. */
export const benchLog: Bench = async (service) => {
  const files = {
    Dockerfile: `FROM busybox\nRUN yes a line of a log that is not short | head -n ${lines}\n`,
  };
  const times = await compareBuilds(service, files, 3);
  const rate = (ms: readonly number[]): number => (lines / median(ms)) * 1000;
  const [kiln, baseline] = [rate(times.kiln), rate(times.baseline)];
  const what = `log of ${lines} lines through kiln : buildctl over plain ssh`;
  return [{ what, kiln, baseline, unit: 'lines/s', ratio: kiln / baseline, goal: null }];
};
