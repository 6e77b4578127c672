import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import supertest, { type Response } from 'supertest';
import type { Problem } from '../../src/http/error-table.ts';
import { createHttpServer, type HttpServer } from '../../src/http/server.ts';
import type { GivenHttpSettings } from '../../src/http/settings.ts';
import { type Authenticate, localAdmin } from '../../src/model/caller.ts';
import { createMetrics } from '../../src/observe/metrics.ts';
import { file, tar } from '../context/tar.ts';
import { openOperations } from '../operations/open-operations.ts';
import type { SimulatedHouse } from '../operations/simulated-house.ts';
import { type SimulatedBuilds, type SimulatedOptions, simulateBuilds } from '../simulated-builds.ts';

export type Logged = { readonly level: 'info' | 'warn' | 'error'; readonly message: string } & Record<
  string,
  unknown
>;

export type Harness = AsyncDisposable & {
  /** One request, one whole answer: what is cut off rejects. */
  readonly api: ReturnType<typeof supertest>;
  readonly url: string;
  readonly port: number;
  readonly server: HttpServer;
  readonly builds: SimulatedBuilds;
  readonly logged: Logged[];
  /** Names of the staged contexts, which lie in `staging`. */
  staged(): Promise<string[]>;
  readonly staging: string;
};

/** The real server on loopback, over simulated builds and the real context guard. */
export async function serve(
  options: Omit<SimulatedOptions, 'staging'> & {
    settings?: Partial<GivenHttpSettings>;
    authenticate?: Authenticate;
    house?: SimulatedHouse;
  } = {},
): Promise<Harness> {
  const staging = await mkdtemp(join(tmpdir(), 'kiln-http-'));
  const builds = simulateBuilds({ ...options, staging });
  const opened = await openOperations(options.house);
  const logged: Logged[] = [];
  const logAs = (level: Logged['level']) => (fields: object, message: string) =>
    void logged.push({ ...fields, level, message });
  const server = createHttpServer({
    ...{ builds, operations: opened.operations },
    authenticate: options.authenticate ?? (async () => localAdmin),
    metrics: createMetrics(),
    settings: { hosts: [], uploadMaxBytes: 1e9, ...options.settings },
    logger: { info: logAs('info'), warn: logAs('warn'), error: logAs('error') },
  });
  const { url } = await server.listen({ host: '127.0.0.1', port: 0 });
  return {
    api: supertest(url),
    url,
    port: Number(new URL(url).port),
    server,
    builds,
    logged,
    staged: () => readdir(staging),
    staging,
    async [Symbol.asyncDispose]() {
      await server.close(0);
      await opened[Symbol.asyncDispose]();
      await rm(staging, { recursive: true });
    },
  };
}

export const archive = tar(file('Dockerfile', 'FROM scratch\n'));

export type Part = { readonly name: string; readonly value: string | Buffer; readonly filename?: string };

export const boundary = 'kilnboundary';
export const formType = `multipart/form-data; boundary=${boundary}`;

/** A form byte by byte, so that it can also be wrong. */
export function form(...parts: readonly Part[]): Buffer {
  return Buffer.concat([...parts.map(encodePart), Buffer.from(`--${boundary}--\r\n`)]);
}

export function encodePart({ name, value, filename }: Part): Buffer {
  const file = filename === undefined ? '' : `; filename="${filename}"`;
  return Buffer.concat([
    Buffer.from(`--${boundary}\r\nContent-Disposition: form-data; name="${name}"${file}\r\n\r\n`),
    Buffer.from(value),
    Buffer.from('\r\n'),
  ]);
}

export const contextPart: Part = { name: 'context', value: archive, filename: 'ctx.tar' };

/** Asserts that an answer is a problem with this status and code; returns it. */
export function assertProblem(answer: Response, status: number, code: string): Problem {
  assert.equal(answer.type, 'application/problem+json', answer.text);
  const problem: Problem = answer.body;
  assert.deepEqual([answer.status, problem.status, problem.code], [status, status, code], answer.text);
  assert.equal(problem.type, `/docs/errors#${code}`);
  return problem;
}

/** Writes bytes to a connection and gives everything that comes back until it is closed. */
export async function exchange(harness: Harness, bytes: string | Buffer): Promise<string> {
  const socket = await open(harness, bytes);
  let answer = '';
  socket.setEncoding('latin1').on('data', (text: string) => {
    answer += text;
  });
  await once(socket, 'close');
  return answer;
}

/** Writes bytes to a connection and gives what comes first, without waiting for the server to close. */
export async function ask(harness: Harness, bytes: string | Buffer): Promise<string> {
  const socket = await open(harness, bytes);
  const [answer] = await once(socket, 'data');
  socket.destroy();
  return String(answer);
}

export async function open(harness: Harness, bytes: string | Buffer): Promise<Socket> {
  const socket = connect(harness.port, '127.0.0.1');
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  socket.write(bytes);
  return socket;
}

export type CurlAnswer = { readonly exit: number; readonly body: string; readonly headers: string };

/** Real curl, as a user calls it; `input` is its standard input. */
export async function curl(args: readonly string[], input: string | Buffer = ''): Promise<CurlAnswer> {
  const directory = await mkdtemp(join(tmpdir(), 'kiln-curl-'));
  const headerFile = join(directory, 'headers');
  const child = spawn('curl', ['-s', '-N', '-D', headerFile, ...args]);
  const body: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => body.push(chunk));
  child.stdin.on('error', () => undefined);
  child.stdin.end(input);
  const [exit] = await once(child, 'close');
  const headers = await readFile(headerFile, 'utf8');
  await rm(directory, { recursive: true });
  return { exit, body: Buffer.concat(body).toString(), headers };
}

/** Polls until the condition holds. */
export async function waitFor(condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const deadline = performance.now() + 60_000;
  while (!(await condition())) {
    assert.ok(performance.now() < deadline, `not within a minute: ${what}`);
    await sleep(10);
  }
}
