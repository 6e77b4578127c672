import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Writable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { openStaging } from '../../src/context/context-staging.ts';
import { Staging } from '../context/staging.ts';
import { stageLarge } from '../context/watch-memory.ts';
import { serve } from '../http/harness.ts';
import { record } from '../simulated-builds.ts';
import { MiB, median, type Row, shell, time } from './measure.ts';
import { writeUploadContext } from './upload-context.ts';

const rounds = 5;
const sizeMiB = 2048;
const maxBytes = 2 * sizeMiB * MiB;
const limits = { maxBytes, maxUploadBytes: maxBytes, maxEntries: 200_000 };

/** curl's arguments for a file. */
const asForm = (path: string): string => `-F context=@${path}`;
const asBody = (path: string): string => `-X POST -H 'Content-Type: application/x-tar' -T ${path}`;

/**
 * Contexts of 2 GiB into kiln's HTTP server and its guard, until the checked image lies on the disk, against a server that
 * writes the same body to a file there; and what that costs kiln in memory. curl is the client of both.
 */
export async function benchUpload(): Promise<Row[]> {
  const directory = await mkdtemp(join(tmpdir(), 'kiln-bench-'));
  const tar = join(directory, 'context.tar');
  const target = join(directory, 'body');
  try {
    await writeUploadContext(tar, sizeMiB * MiB);
    await shell(`gzip -1 -k ${tar}`);
    await using kiln = await serveKiln(directory);
    await using plain = await servePlain((request) => request.pipe(createWriteStream(target)));
    await using gunzip = await servePlain((request) =>
      request.pipe(createGunzip()).pipe(createWriteStream(target)),
    );
    const form = await compare(kiln.url, plain.url, asForm(tar));
    const body = await compare(kiln.url, plain.url, asBody(tar));
    const gzip = await compare(kiln.url, gunzip.url, asBody(`${tar}.gz`));
    return [
      speed('2 GiB as a form : plain Node to a file', form),
      speed('2 GiB as the body : plain Node to a file', body),
      speed('2 GiB as tar.gz : plain Node, gunzip to a file', gzip),
      {
        ...{ what: 'RSS rise at 2 GiB : its size', unit: 'MiB', kiln: form.grownMiB, baseline: sizeMiB },
        ...{ ratio: form.grownMiB / sizeMiB, goal: ['kiln', '≤', 64] },
      },
      await longestTurn(),
    ];
  } finally {
    await rm(directory, { recursive: true });
  }
}

/** Many names are the worst for the event loop: each is work, and none of it waits for the disk. */
async function longestTurn(): Promise<Row> {
  await using staging = await Staging.create();
  const context = { bytes: 0, members: 200_000, layout: 'flat' };
  const { staged, longestTurnMs, longestTurnShare } = await stageLarge(staging, context);
  if (staged instanceof Error) throw staged;
  return {
    ...{ what: '200 000 names, longest turn : the whole work', unit: 'ms', kiln: longestTurnMs },
    ...{ baseline: longestTurnMs / longestTurnShare, ratio: longestTurnShare, goal: ['kiln', '≤', 50] },
  };
}

type Compared = {
  readonly kiln: readonly number[];
  readonly plain: readonly number[];
  readonly grownMiB: number;
};

function speed(what: string, times: Compared): Row {
  const rate = (ms: readonly number[]): number => (sizeMiB / median(ms)) * 1000;
  const [kiln, baseline] = [rate(times.kiln), rate(times.plain)];
  return { what, kiln, baseline, unit: 'MiB/s', ratio: kiln / baseline, goal: ['ratio', '≥', 0.8] };
}

/** In turns, after one of each that is not counted. */
async function compare(kilnUrl: string, plainUrl: string, args: string): Promise<Compared> {
  const upload = (url: string): Promise<void> => shell(`curl -sSf ${args} '${url}/build?async=1'`);
  await upload(kilnUrl);
  await upload(plainUrl);
  const [kiln, plain]: [number[], number[]] = [[], []];
  let grownMiB = 0;
  for (let round = 0; round < rounds; round += 1) {
    const watch = watchMemory();
    kiln.push(await time(() => upload(kilnUrl)));
    grownMiB = Math.max(grownMiB, watch());
    plain.push(await time(() => upload(plainUrl)));
  }
  return { kiln, plain, grownMiB };
}

/** Simulated are only the builds, which end as they start. */
function serveKiln(directory: string): ReturnType<typeof serve> {
  return serve({
    settings: { uploadMaxBytes: maxBytes },
    overrides: {
      stageContexts: (_caller, signal) => openStaging({ directory, limits, minFreeBytes: 0, signal }),
      async start(_caller, { context }) {
        await context?.[Symbol.asyncDispose]();
        return record;
      },
    },
  });
}

async function servePlain(
  receive: (request: IncomingMessage) => Writable,
): Promise<AsyncDisposable & { url: string }> {
  const server = createServer((request, response) => {
    receive(request).once('close', () => response.end('written\n'));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('The server has no port.');
  return {
    url: `http://127.0.0.1:${address.port}`,
    async [Symbol.asyncDispose]() {
      server.close();
      await once(server, 'close');
    },
  };
}

/** By how much it rises at most until the function it returns is called, in MiB. */
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
