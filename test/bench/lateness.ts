import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { WarmVm } from '../../src/guest/warm-vm.ts';
import { capture } from '../../src/ssh/capture.ts';
import { createContext } from '../e2e/harness.ts';
import { type Bench, type Goal, median, plainSsh, type Row, shell, waitUntilWarm } from './measure.ts';

const signal = new AbortController().signal;
const lines = 200;

/** In buildctl's place, so that nothing but the way out is measured: each line is the guest's time as it is written. */
const standIn = `#!/usr/bin/perl
use Time::HiRes qw(time sleep);
$| = 1;
select STDERR;
for (1 .. ${lines}) { printf "%.6f\\n", time; sleep 0.037 }
`;
const readClock = "perl -MTime::HiRes=time -ne '$| = 1; printf qq(%.6f\\n), time'";
/** Each line of standard input with the host's time in front. */
const stamp = 'perl -MTime::HiRes=time -ne \'$| = 1; printf "%.6f %s", time, $_\'';

/** From the write of a line in the guest until the client has read it, in ms: curl to kiln, and plain ssh. */
export const benchLateness: Bench = async (service) => {
  await using context = await createContext({ Dockerfile: 'FROM scratch\n' });
  const { pool, scheduler } = service;
  const enter = scheduler.enter.bind(scheduler);
  let offset = Number.NaN;
  scheduler.enter = async (...args) => {
    const lease = await enter(...args);
    await capture(lease.vm.connection, `cat >$(command -v buildctl)`, {
      input: Buffer.from(standIn),
      signal,
    });
    offset = await clockOffset(lease.vm);
    return lease;
  };
  await waitUntilWarm(service);
  const ours = await lateness(`curl -sSN -F context=@${context.archive} ${service.httpUrl}/build`);
  const kiln = ours.map((ms) => ms + offset);
  await waitUntilWarm(service);
  scheduler.enter = enter;
  await using lease = await pool.acquire(signal);
  await using ssh = await plainSsh(lease.vm);
  const plain = (await lateness(`${ssh.command} 'buildctl 2>&1'`)).map((ms) => ms + offset);
  const row = (what: string, goal: Goal | null, of: (values: readonly number[]) => number): Row => ({
    ...{ what: `${what} : over plain ssh`, kiln: of(kiln), baseline: of(plain), unit: 'ms' },
    ...{ ratio: of(kiln) / of(plain), goal },
  });
  return [
    row('lateness of a log line, median', null, median),
    row(`lateness of the latest of ${lines} lines`, ['kiln', '≤', 20], (all) => Math.max(...all)),
  ];
};

/** Of each line of the command's output, the client's time minus the time that the line says. */
async function lateness(command: string): Promise<number[]> {
  const times: number[] = [];
  await shell(`${command} | ${stamp}`, (text) => {
    for (const [, client, guest] of text.matchAll(/^(\d+\.\d+) (\d+\.\d+)$/gm))
      times.push((Number(client) - Number(guest)) * 1000);
  });
  if (times.length < lines) throw new Error(`${times.length} of ${lines} lines came.`);
  return times;
}

/** The guest's clock minus the host's, in ms, as the fastest of many questions tells it. */
async function clockOffset(vm: WarmVm): Promise<number> {
  await using ssh = await plainSsh(vm);
  const child = spawn('bash', ['-c', `${ssh.command} "${readClock.replaceAll('$', '\\$')}"`], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const answers = createInterface(child.stdout)[Symbol.asyncIterator]();
  let best = { took: Number.POSITIVE_INFINITY, offset: Number.NaN };
  for (let question = 0; question < 100; question += 1) {
    const asked = { at: Date.now(), mark: performance.now() };
    child.stdin.write('?\n');
    const { value } = await answers.next();
    const took = performance.now() - asked.mark;
    if (took < best.took) best = { took, offset: Number(value) * 1000 - (asked.at + took / 2) };
  }
  child.stdin.end();
  await once(child, 'close');
  return best.offset;
}
