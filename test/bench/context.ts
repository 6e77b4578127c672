import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { senderFile } from '../context/send-large-context.ts';
import { type Bench, MiB, median, plainSsh, shell, time, waitUntilWarm } from './measure.ts';

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
    ours.push(Date.parse((await service.builds.get(id)).times.contextReady ?? '') - started);
    await waitUntilWarm(service);
    await using lease = await service.pool.acquire(signal);
    await using ssh = await plainSsh(lease.vm);
    plain.push(await time(() => shell(`${ssh.command} 'mkdir /root/c && tar -xC /root/c' <${context.tar}`)));
  }
  const [kiln, baseline] = [median(ours), median(plain)];
  const ratio = baseline / kiln;
  return [{ what: '100 MB context in : ssh tar', kiln, baseline, unit: 'ms', ratio, goal: '≥ 5' }];
};

const uploadMiB = 2048;

/** A context of 2 GiB, checked and staged, against a server that reads the body and drops it; and what it costs kiln in memory. */
export const benchUpload: Bench = async (service) => {
  const directory = await mkdtemp(join(tmpdir(), 'kiln-bench-'));
  try {
    const tar = join(directory, 'context.tar');
    await writeContext(tar);
    const refused = join(directory, 'answer');
    const upload = (url: string): Promise<void> => shell(`curl -sS -o ${refused} -F context=@${tar} ${url}`);
    await upload(`${service.httpUrl}/build`);
    const watch = watchMemory();
    const ours = await time(() => upload(`${service.httpUrl}/build`));
    const grown = watch();
    const plain = await timeDiscarding(upload);
    const [kiln, baseline] = [(uploadMiB / ours) * 1000, (uploadMiB / plain) * 1000];
    return [
      ...[
        {
          what: '2 GiB upload : read and dropped',
          kiln,
          baseline,
          unit: 'MiB/s',
          ratio: kiln / baseline,
          goal: '',
        },
      ],
      {
        what: 'RSS rise at it : its size',
        kiln: grown,
        baseline: uploadMiB,
        unit: 'MiB',
        ratio: grown / uploadMiB,
        goal: '≤ 0.031',
      },
    ];
  } finally {
    await rm(directory, { recursive: true });
  }
};

/** Without a Dockerfile, so that it is refused at its end: only the upload is measured. */
async function writeContext(path: string): Promise<void> {
  const sender = spawn(process.execPath, [senderFile, String(uploadMiB * MiB), '1000']);
  await pipeline(sender.stdout, createWriteStream(path));
}

function watchMemory(): () => number {
  const before = process.memoryUsage.rss();
  let highest = before;
  const timer = setInterval(() => {
    highest = Math.max(highest, process.memoryUsage.rss());
  }, 10);
  return () => {
    clearInterval(timer);
    return (highest - before) / MiB;
  };
}

async function timeDiscarding(upload: (url: string) => Promise<void>): Promise<number> {
  const server = createServer((request, response) => {
    request.resume().on('end', () => response.end('read\n'));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('The server has no port.');
  try {
    return await time(() => upload(`http://127.0.0.1:${address.port}/`));
  } finally {
    server.close();
  }
}
