import { setInterval } from 'node:timers';
import { build, type TestService } from '../e2e/harness.ts';
import { type Bench, MiB, type Row, waitUntilWarm } from './measure.ts';

const largeBytes = 1_000_000_000;
const slowBytes = 200_000_000;

/**
 * By how much kiln grows at most while a step takes a large answer, and while one leaves its answer where it is for a while.
 * The origin is in this process, too.
 */
export const benchFlatMemory: Bench = async (service, { origin }) => {
  const url = (bytes: number): string =>
    `'http://host.kiln.internal:${origin.httpPort}/zeros?bytes=${bytes}'`;
  const slowly = '{ sleep 20; cat; }';
  return [
    await measure(service, '1 GB comes into a step', largeBytes, `wget -qO- ${url(largeBytes)}`),
    await measure(service, 'a step takes 200 MB late', slowBytes, `wget -qO- ${url(slowBytes)} | ${slowly}`),
  ];
};

async function measure(service: TestService, what: string, bytes: number, command: string): Promise<Row> {
  await waitUntilWarm(service);
  const before = process.memoryUsage.rss();
  let most = before;
  const watch = setInterval(() => {
    most = Math.max(most, process.memoryUsage.rss());
  }, 20);
  const { body } = await build(service, {
    Dockerfile: `FROM busybox\nRUN echo "got $(${command} | wc -c)"\n`,
  });
  clearInterval(watch);
  if (!body.includes(` got ${bytes}\n`)) throw new Error(body);
  const [kiln, baseline] = [(most - before) / MiB, bytes / MiB];
  return {
    what: `memory that kiln grows by while ${what} : its size`,
    ...{ kiln, baseline, unit: 'MiB', ratio: kiln / baseline, goal: ['kiln', '≤', 64] },
  };
}
