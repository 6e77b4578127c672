import { ensureKeyPair } from '../../src/ssh/keys.ts';
import { build, type TestService } from '../e2e/harness.ts';
import { type Bench, median, plainSsh, type Row, shell, time, waitUntilWarm } from './measure.ts';
import { openOldWay, proxyPort } from './old-way.ts';
import { startInVmNetwork } from './vm-network.ts';

const signal = new AbortController().signal;
const rounds = 3;
const largeBytes = 200_000_000;
const smallRequests = 15;
const requestsAtOnce = 300;
/** What kiln's own connections use. */
const cipher = '-c aes128-gcm@openssh.com';

/** Of one run; the times are as the program in the guest saw them. */
type Figures = { readonly megabytesPerSecond: number; readonly firstByteMs: number; readonly manyMs: number };

/**
 * The network of a step: through the relay, against the way out that VMs had before (a step in its VM's network that uses a
 * proxy), and against plain ssh.
 */
export const benchNetwork: Bench = async (service, surroundings) => {
  const { httpPort } = surroundings.origin;
  await using before = await startInVmNetwork(surroundings);
  await useOldWay(before);
  const address = "$(nslookup -type=a host.kiln.internal | grep -o '198[.][0-9.]*')";
  const relayed: Figures[] = [];
  const proxied: Figures[] = [];
  const copied: { into: number; from: number }[] = [];
  for (let round = 0; round < rounds; round += 1) {
    relayed.push(await fetchInStep(service, [address, httpPort], ''));
    proxied.push(await fetchInStep(before.service, ['host.kiln.internal', httpPort], String(proxyPort)));
    copied.push(await copyByHand(service));
  }
  const of = (name: keyof Figures) => ({
    kiln: median(relayed.map((figures) => figures[name])),
    baseline: median(proxied.map((figures) => figures[name])),
  });
  const large = of('megabytesPerSecond');
  const speed = (what: string, baseline: number, goal: number): Row => ({
    ...{ what: `200 MB into a step : ${what}`, kiln: large.kiln, baseline, unit: 'MB/s' },
    ...{ ratio: large.kiln / baseline, goal: ['ratio', '≥', goal] },
  });
  const delay = (what: string, { kiln, baseline }: ReturnType<typeof of>): Row => {
    return { what, kiln, baseline, unit: 'ms', ratio: kiln / baseline, goal: null };
  };
  return [
    speed('through a proxy, as before', large.baseline, 1),
    speed('plain ssh into the guest', median(copied.map(({ into }) => into)), 0.8),
    speed('plain ssh from the guest', median(copied.map(({ from }) => from)), 0.8),
    delay('first byte of a small answer : through a proxy, as before', of('firstByteMs')),
    delay(`${requestsAtOnce} small requests at once : through a proxy, as before`, of('manyMs')),
  ];
};

/** A step that asks for a small answer several times, for many at once, and for a large one. */
async function fetchInStep(
  service: TestService,
  [address, port]: readonly [address: string, port: number],
  proxy: string,
): Promise<Figures> {
  const lines = [
    `address=${address}`,
    `for i in $(seq ${smallRequests}); do fetch $address ${port} /hello 1 ${proxy}; done`,
    `fetch $address ${port} /hello ${requestsAtOnce} ${proxy}`,
    `fetch $address ${port} '/zeros?bytes=${largeBytes}' 1 ${proxy}`,
  ];
  await waitUntilWarm(service);
  const { body, exit } = await build(service, {
    Dockerfile: `FROM busybox\nRUN <<'STEP'\nset -e\n${lines.join('\n')}\nSTEP\n`,
  });
  const fetched = [...body.matchAll(/fetched (\d+) of (\d+): bytes (\d+) first (\d+) whole (\d+)/g)].map(
    ([, right, count, bytes, first, whole]) => ({
      isRight: right === count,
      ...{ bytes: Number(bytes), first: Number(first), whole: Number(whole) },
    }),
  );
  const [many, large] = fetched.slice(smallRequests);
  if (exit !== 0 || !many || !large || large.bytes < largeBytes || !fetched.every(({ isRight }) => isRight))
    throw new Error(`The step did not get what it asked for:\n${body}`);
  return {
    megabytesPerSecond: large.bytes / large.whole,
    firstByteMs: median(fetched.slice(0, smallRequests).map(({ first }) => first)) / 1000,
    manyMs: many.whole / 1000,
  };
}

/** In MB/s, both ways, without what it takes to connect. */
async function copyByHand(service: TestService): Promise<{ into: number; from: number }> {
  await waitUntilWarm(service);
  await using lease = await service.pool.acquire(signal);
  await using ssh = await plainSsh(lease.vm);
  const inGuest = (command: string): string => `${ssh.command} ${cipher} '${command}'`;
  const zeros = `head -c ${largeBytes} /dev/zero`;
  const connecting = await time(() => shell(inGuest('true')));
  const speedOf = async (command: string): Promise<number> =>
    largeBytes / 1000 / ((await time(() => shell(command))) - connecting);
  return {
    into: await speedOf(`${zeros} | ${inGuest('cat >/dev/null')}`),
    from: await speedOf(`${inGuest(zeros)} >/dev/null`),
  };
}

/** Each VM of this service has the old way out beside the relay, and its steps reach it. */
async function useOldWay({ service, dataDirectory }: { service: TestService; dataDirectory: string }) {
  const { privateKey } = await ensureKeyPair(dataDirectory);
  const { scheduler } = service;
  const enter = scheduler.enter.bind(scheduler);
  scheduler.enter = async (...args) => {
    const lease = await enter(...args);
    await openOldWay(lease.vm, privateKey);
    return lease;
  };
}
