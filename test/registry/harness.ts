import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse, request as send } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { parseConfig } from '../../src/config/config.ts';
import { prepareRegistryProgram } from '../../src/host-setup.ts';
import { writeOciLayout } from '../../src/images/oci-layout.ts';
import { openRegistry, type Registry } from '../../src/registry/registry.ts';
import { parseRepository } from '../../src/registry/repository.ts';
import { listen } from '../listen.ts';

const run = promisify(execFile);
export const { signal } = new AbortController();

/** The real program, made once on this machine. */
export function ensureProgram(): Promise<string> {
  return prepareRegistryProgram(parseConfig({}, true), {
    path: process.env['PATH'] ?? '',
    progress: (line) => console.log(line),
    signal,
  });
}

export type OpenOptions = {
  readonly program: string;
  readonly host: string;
  readonly config?: string | null;
  readonly waitsMs?: readonly number[];
  readonly silenceMs?: number;
  readonly lines?: string[];
};

export function openTestRegistry(options: OpenOptions): Registry {
  const { program, host, config = null, waitsMs = [10, 10], silenceMs, lines } = options;
  return openRegistry({
    ...{ program, config },
    repository: parseRepository(`${host}/archive/kiln`),
    ...{ waitsMs, ...(silenceMs !== undefined && { silenceMs }) },
    say: (line) => void lines?.push(line),
  });
}

export type TestLayout = AsyncDisposable & {
  readonly layout: string;
  readonly digest: string;
  /** The same as a tar. */
  toTar(): Promise<string>;
};

/** An image of one layer of random bytes, as what makes images here writes it. */
export async function createLayout(bytes = 100_000): Promise<TestLayout> {
  const directory = await mkdtemp(join(tmpdir(), 'kiln-layout-'));
  const layout = join(directory, 'layout');
  await mkdir(layout);
  const tar = join(directory, 'layer.tar');
  await writeFile(tar, randomBytes(bytes));
  const { digest } = await writeOciLayout({ tar, directory: layout }, signal);
  return {
    ...{ layout, digest },
    async toTar() {
      const path = join(directory, 'layout.tar');
      await run('tar', ['-cf', path, '-C', layout, '.']);
      return path;
    },
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true }),
  };
}

/** What a registry answers of a manifest, asked without any of kiln's code. */
export async function getManifest(
  url: string,
  reference: string,
): Promise<{ readonly status: number; readonly digest: string; readonly body: unknown }> {
  const accept = 'application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json';
  const answer = await fetch(`${url}/v2/archive/kiln/manifests/${reference}`, { headers: { accept } });
  const bytes = Buffer.from(await answer.arrayBuffer());
  const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
  return { status: answer.status, digest, body: JSON.parse(bytes.toString()) };
}

/** What to do with a request in place of passing it on; it may do so, too, by `pass`. */
export type Fault = (request: IncomingMessage, response: ServerResponse, pass: () => void) => void;

export type Proxy = AsyncDisposable & {
  readonly host: string;
  /** Such as `PUT /v2/archive/kiln/manifests/v1`, in their order. */
  readonly requests: string[];
};

/** Stands before a registry; `choose` sees each request, and says what goes wrong with it. */
export async function startProxy(
  registry: { readonly host: string },
  choose: (line: string, count: number) => Fault | null,
): Promise<Proxy> {
  const requests: string[] = [];
  const [hostname, port] = registry.host.split(':');
  const server = createServer((request, response) => {
    const line = `${request.method} ${request.url?.replace(/\?.*/, '')}`;
    requests.push(line);
    const pass = (): void => {
      const { method, url: path, headers } = request;
      const onward = send({ hostname, port, method, path, headers }, (answer) => {
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(response);
      });
      for (const stream of [onward, response]) stream.on('error', () => onward.destroy());
      request.pipe(onward);
    };
    const fault = choose(line, requests.length);
    if (fault) fault(request, response, pass);
    else pass();
  });
  const listening = await listen(server);
  return {
    host: `127.0.0.1:${listening.port}`,
    requests,
    [Symbol.asyncDispose]: () => listening[Symbol.asyncDispose](),
  };
}

/** The registry answers with this, and nothing of the request reaches it. */
export function answerWith(status: number, headers: Readonly<Record<string, string>> = {}): Fault {
  return (request, response) => {
    request.resume();
    response.writeHead(status, headers).end('{}');
  };
}

/** The connection breaks: at once, or once so many bytes of the request have come, or all of it. */
export function breakOff(afterBytes = 0): Fault {
  return (request) => {
    let bytes = 0;
    if (afterBytes === 0) request.destroy();
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes >= afterBytes) request.destroy();
    });
    request.on('end', () => request.destroy());
  };
}

/** The registry begins its answer, and then says nothing more. */
export function fallSilent(status: number, headers: Readonly<Record<string, string>> = {}): Fault {
  return (request, response) => {
    request.resume();
    response.writeHead(status, headers).write('{');
  };
}
