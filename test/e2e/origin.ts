import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { type AddressInfo, createServer as createTcpServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { installTools } from '../install-tools.ts';
import { trustedIdentity } from './harness.ts';

const run = promisify(execFile);

/** What builds of the tests are after, on this machine's loopback. */
export type Origin = AsyncDisposable & {
  /** `/hello`; `/zeros?bytes=N`; `/repo.git` by git's own protocol, with one file `read-me`. */
  readonly httpPort: number;
  /** The same over TLS, for those that trust the authority of test services. */
  readonly httpsPort: number;
  /** Path of that repository. */
  readonly repository: string;
  /** Answers each piece with `<piece>`, and once the other end has said all, with a full stop. */
  readonly echoPort: number;
  /** Connections to the echo that are open, and the most that were at once. */
  readonly echoes: { readonly open: number; readonly most: number };
};

export async function startOrigin(): Promise<Origin> {
  await installTools([{ find: 'git', package: 'git' }]);
  const directory = await mkdtemp(join(tmpdir(), 'kiln-origin-'));
  await createRepository(directory);
  const onRequest = (request: IncomingMessage, response: ServerResponse): void =>
    answer(directory, request, response);
  const http = createServer(onRequest);
  const https = createTlsServer((await trustedIdentity()).identity, onRequest);
  const echoes = { open: 0, most: 0 };
  const echo = createTcpServer({ allowHalfOpen: true }, (socket) => {
    echoes.open += 1;
    echoes.most = Math.max(echoes.most, echoes.open);
    socket.once('close', () => {
      echoes.open -= 1;
    });
    sayBack(socket);
  });
  const httpPort = await listen(http);
  const httpsPort = await listen(https);
  const echoPort = await listen(echo);
  return {
    ...{ httpPort, httpsPort, echoPort, echoes, repository: join(directory, 'repo.git') },
    async [Symbol.asyncDispose]() {
      for (const server of [http, https]) {
        server.closeAllConnections();
        server.close();
      }
      echo.close();
      await rm(directory, { recursive: true });
    },
  };
}

async function listen(server: Server): Promise<number> {
  server.listen({ port: 0, host: '127.0.0.1', backlog: 1024 });
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

function sayBack(socket: Socket): void {
  socket.on('error', () => socket.destroy());
  socket.on('data', (data) => socket.write(`<${data.toString()}>`));
  socket.on('end', () => socket.end('.'));
}

function answer(directory: string, request: IncomingMessage, response: ServerResponse): void {
  const { pathname, searchParams } = new URL(request.url ?? '/', 'http://origin');
  if (pathname.startsWith('/repo.git')) void answerGit(directory, request, response);
  else if (pathname === '/zeros') void sendZeros(Number(searchParams.get('bytes')), response);
  else if (pathname === '/hello') response.end('hello from the origin\n');
  else response.writeHead(404).end();
}

async function sendZeros(bytes: number, response: ServerResponse): Promise<void> {
  const block = Buffer.alloc(64 * 1024);
  response.writeHead(200, { 'content-length': bytes });
  for (let left = bytes; left > 0 && !response.destroyed; left -= block.length) {
    if (!response.write(block.subarray(0, Math.min(left, block.length)))) await once(response, 'drain');
  }
  response.end();
}

async function createRepository(directory: string): Promise<void> {
  const work = join(directory, 'work');
  await run('git', ['init', '-q', '-b', 'main', work]);
  await writeFile(join(work, 'read-me'), 'from git\n');
  const author = ['-c', 'user.name=kiln', '-c', 'user.email=kiln@localhost'];
  await run('git', ['-C', work, 'add', '.']);
  await run('git', ['-C', work, ...author, 'commit', '-q', '-m', 'one file']);
  await run('git', ['clone', '-q', '--bare', work, join(directory, 'repo.git')]);
}

/** The real server of git, as a CGI program (RFC 3875). */
async function answerGit(
  directory: string,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { pathname, search } = new URL(request.url ?? '/', 'http://origin');
  const child = spawn('git', ['http-backend'], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: {
      ...{ PATH: process.env['PATH'], GIT_PROJECT_ROOT: directory, GIT_HTTP_EXPORT_ALL: '1' },
      ...{ PATH_INFO: pathname, QUERY_STRING: search.slice(1), REQUEST_METHOD: request.method },
      CONTENT_TYPE: request.headers['content-type'] ?? '',
      HTTP_CONTENT_ENCODING: request.headers['content-encoding'] ?? '',
      GIT_PROTOCOL: String(request.headers['git-protocol'] ?? ''),
    },
  });
  request.pipe(child.stdin);
  const output = Buffer.concat(await Array.fromAsync(child.stdout as AsyncIterable<Buffer>));
  const end = output.indexOf('\r\n\r\n');
  for (const line of output.subarray(0, end).toString('latin1').split('\r\n')) {
    const [, name = '', value = ''] = /^([^:]+): *(.*)$/.exec(line) ?? [];
    if (name === 'Status') response.statusCode = Number.parseInt(value, 10);
    else response.setHeader(name, value);
  }
  response.end(output.subarray(end + 4));
}
