import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer as createHttpServer } from 'node:http';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer as createTlsServer } from 'node:tls';
import { promisify } from 'node:util';
import { generateKeyPair } from '../../src/ssh/keys.ts';
import { freePort } from '../docker-registry.ts';
import { waitFor } from '../e2e/harness.ts';
import { installTools } from '../install-tools.ts';
import { type Listening, listen } from '../listen.ts';
import { tied } from '../tied.ts';

const run = promisify(execFile);
const host = 'host.kiln.internal';

/** TLS in front of a server on this machine, under the name that builds have for it, with a certificate of its own. */
export async function serveTls(port: number): Promise<Listening & { readonly certificate: string }> {
  await installTools([{ find: 'openssl', package: 'openssl' }]);
  const directory = await mkdtemp(join(tmpdir(), 'kiln-certificate-'));
  const [keyFile, certificateFile] = [join(directory, 'key.pem'), join(directory, 'certificate.pem')];
  const kind = ['-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2'];
  const names = ['-subj', `/CN=${host}`, '-addext', `subjectAltName=DNS:${host}`];
  await run('openssl', ['req', ...kind, ...names, '-keyout', keyFile, '-out', certificateFile]);
  const [key, certificate] = await Promise.all([readFile(keyFile), readFile(certificateFile, 'utf8')]);
  await rm(directory, { recursive: true });
  // The TLS of busybox says of no signature that it knows it, which stands for SHA-1.
  const settings = { key, cert: certificate, ciphers: 'DEFAULT@SECLEVEL=0', allowHalfOpen: true };
  const server = createTlsServer(settings, (secure) => {
    const plain = connect({ port, host: '127.0.0.1' });
    plain.on('error', () => secure.destroy());
    secure.on('error', () => undefined).once('close', () => plain.destroy());
    // busybox ends its half when it has asked, which the web server behind would take for its leave.
    secure.pipe(plain, { end: false }).pipe(secure);
  });
  server.on('tlsClientError', () => undefined);
  return { ...(await listen(server)), certificate };
}

/** Answers each short text message of a WebSocket (RFC 6455) by the same. */
export function serveWebSocket(): Promise<Listening> {
  const server = createHttpServer((_request, response) => response.writeHead(426).end());
  server.on('upgrade', (request, socket: Socket) => {
    const key = `${request.headers['sec-websocket-key'] ?? ''}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`;
    const accept = createHash('sha1').update(key).digest('base64');
    const head = ['HTTP/1.1 101 Switching Protocols', 'Upgrade: websocket', 'Connection: Upgrade'];
    socket.write(`${[...head, `Sec-WebSocket-Accept: ${accept}`].join('\r\n')}\r\n\r\n`);
    socket.on('data', (frame: Buffer) => {
      const length = frame.readUInt8(1) & 0x7f;
      const mask = frame.subarray(2, 6);
      const payload = frame.subarray(6, 6 + length).map((byte, at) => byte ^ mask.readUInt8(at % 4));
      socket.write(Buffer.concat([frame.subarray(0, 1), Buffer.from([length]), payload]));
      if ((frame.readUInt8(0) & 0x0f) === 8) socket.end();
    });
  });
  return listen(server);
}

/** Resets each connection at its first byte. */
export function serveReset(): Promise<Listening> {
  return listen(createServer((socket) => void socket.once('data', () => socket.resetAndDestroy())));
}

/** A repository behind the real sshd, under a host key and a user's key of its own. */
export async function serveSsh(
  repository: string,
): Promise<Listening & { readonly privateKey: string; readonly knownHosts: string }> {
  await installTools([{ find: '/usr/sbin/sshd', package: 'openssh-server' }]);
  await using undo = new AsyncDisposableStack();
  const directory = await mkdtemp(join(tmpdir(), 'kiln-sshd-'));
  undo.defer(() => rm(directory, { recursive: true }));
  const [hostKey, userKey] = [generateKeyPair(), generateKeyPair()];
  const port = await freePort();
  const file = (name: string): string => join(directory, name);
  await writeFile(file('host-key'), hostKey.privateKey, { mode: 0o600 });
  await writeFile(
    file('authorized'),
    `restrict,command="git-upload-pack '${repository}'" ssh-ed25519 ${userKey.publicKey}\n`,
  );
  const config = [
    ...[
      `Port ${port}`,
      'ListenAddress 127.0.0.1',
      `HostKey ${file('host-key')}`,
      'PidFile none',
      'UsePAM no',
    ],
    ...[`AuthorizedKeysFile ${file('authorized')}`, 'StrictModes no', 'PermitRootLogin forced-commands-only'],
  ];
  await writeFile(file('config'), `${config.join('\n')}\n`);
  await mkdir('/run/sshd', { recursive: true, mode: 0o755 });
  const sshd = spawn(...tied('/usr/sbin/sshd', ['-D', '-e', '-f', file('config')]), {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const exited = once(sshd, 'exit');
  undo.defer(async () => {
    sshd.kill('SIGTERM');
    await exited;
  });
  await waitFor(() => answers(port), 'sshd answers');
  const resources = undo.move();
  return {
    port,
    privateKey: userKey.privateKey,
    knownHosts: `[${host}]:${port} ssh-ed25519 ${hostKey.publicKey}\n`,
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

function answers(port: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = connect({ port, host: '127.0.0.1' });
  socket.once('data', () => resolve(true)).once('error', () => resolve(false));
  return promise.finally(() => socket.destroy());
}
