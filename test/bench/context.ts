import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { localAdmin } from '../../src/model/caller.ts';
import { type Bench, median, plainSsh, shell, time, waitUntilWarm } from './measure.ts';

const rounds = 3;
const signal = new AbortController().signal;

/** A tar of one folder with 100 MB that do not compress, and its Dockerfile. */
async function createLargeContext(): Promise<AsyncDisposable & { tar: string }> {
  const directory = await mkdtemp(join(tmpdir(), 'kiln-bench-'));
  const root = join(directory, 'root');
  const files = 'for i in $(seq 100); do head -c 1000000 /dev/urandom >$i; done';
  await shell(`mkdir ${root} && cd ${root} && ${files} && printf 'FROM scratch\\nCOPY 1 /\\n' >Dockerfile`);
  await shell(`tar -cf ${directory}/context.tar -C ${root} .`);
  return {
    tar: join(directory, 'context.tar'),
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true }),
  };
}

/** From the client's disk until the files lie in the VM: upload, check and mounted disk against tar through ssh. */
export const benchContext: Bench = async (service) => {
  await using context = await createLargeContext();
  const [ours, plain]: [number[], number[]] = [[], []];
  for (let round = 0; round < rounds; round += 1) {
    await waitUntilWarm(service);
    const started = Date.now();
    let head = '';
    await shell(`curl -sSN -i -F context=@${context.tar} ${service.httpUrl}/build`, (text) => {
      head += text;
    });
    const id = /x-build-id: (\S+)/i.exec(head)?.[1] ?? '';
    ours.push(Date.parse((await service.builds.get(localAdmin, id)).times.contextReady ?? '') - started);
    await waitUntilWarm(service);
    await using lease = await service.pool.acquire(signal);
    await using ssh = await plainSsh(lease.vm);
    plain.push(await time(() => shell(`${ssh.command} 'mkdir /root/c && tar -xC /root/c' <${context.tar}`)));
  }
  const [kiln, baseline] = [median(ours), median(plain)];
  const ratio = baseline / kiln;
  return [
    { what: '100 MB context in : ssh tar', kiln, baseline, unit: 'ms', ratio, goal: ['ratio', '≥', 5] },
  ];
};
