import { Agent, createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import { connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { EgressDestination } from '../model/build.ts';
import type { EgressPolicy } from './egress-policy.ts';
import { EgressRecord } from './egress-record.ts';
import { type HostPort, normalizeHost, parseHostPort } from './settings.ts';

/** One guest's way out: a forward proxy that listens nowhere. Disposing cuts every connection. */
export type EgressProxy = Disposable & {
  /** Takes one connection of the guest. */
  accept(connection: Duplex): void;
  destinations(): EgressDestination[];
};

const maxConnections = 256;
const connectDeadlineMs = 10_000;
const idleDeadlineMs = 300_000;

/** Headers that are for the next hop only (RFC 9110 7.6.1), and those of the proxy itself. */
const hopByHop = new Set(
  'connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer transfer-encoding upgrade host'.split(
    ' ',
  ),
);

/**
 * HTTP proxy for CONNECT and for absolute http:// URLs. The guest is hostile: no request of it may crash us, reach what the
 * policy refuses, or hold more than its share of connections.
 */
export function createEgressProxy(options: {
  policy: EgressPolicy;
  onDestination: (destination: EgressDestination) => void;
}): EgressProxy {
  const { policy, onDestination } = options;
  const record = new EgressRecord(onDestination);
  const stop = new AbortController();
  const connections = new Set<Duplex>();
  const open = (destination: HostPort): Promise<Outcome> =>
    openConnection({ policy, record, destination }, stop.signal);
  const server = createServer({ maxHeaderSize: 64 * 1024, keepAliveTimeout: 60_000, requestTimeout: 0 });
  server.on('request', (incoming, response) => void forward(incoming, response, open));
  server.on(
    'connect',
    (incoming: IncomingMessage, tunnel: Duplex, head: Buffer) => void dig({ incoming, tunnel, head }, open),
  );
  server.on('upgrade', (_incoming, socket: Duplex) => socket.destroy());
  server.on('clientError', (_error, socket) => socket.destroy());
  return {
    accept(connection) {
      if (stop.signal.aborted || connections.size >= maxConnections) {
        connection.destroy();
        return;
      }
      connections.add(connection);
      connection.on('error', () => connection.destroy());
      connection.once('close', () => connections.delete(connection));
      server.emit('connection', likeSocket(connection));
    },
    destinations: () => record.list(),
    [Symbol.dispose]() {
      stop.abort(new Error('The build has ended.'));
      for (const connection of connections) connection.destroy();
    },
  };
}

type Outcome = { readonly socket: Socket } | { readonly status: number; readonly message: string };
type Open = (destination: HostPort) => Promise<Outcome>;

async function openConnection(
  { policy, record, destination }: { policy: EgressPolicy; record: EgressRecord; destination: HostPort },
  signal: AbortSignal,
): Promise<Outcome> {
  const { port } = destination;
  const host = normalizeHost(destination.host);
  const decision = await policy(destination, signal);
  if (!decision.allowed) {
    record.add({ host, port, address: null, allowed: false });
    return decision;
  }
  let message = '';
  for (const address of decision.addresses) {
    try {
      const socket = await connectTo(address, decision.port, signal);
      record.add({ host, port, address, allowed: true });
      return { socket };
    } catch (error) {
      message = error instanceof Error ? error.message : String(error);
    }
  }
  record.add({ host, port, address: decision.addresses[0] ?? null, allowed: true });
  return { status: 502, message: `${host}:${port} could not be connected to: ${message}` };
}

function connectTo(address: string, port: number, signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: address, port, signal });
    const timer = setTimeout(() => socket.destroy(new Error('timed out')), connectDeadlineMs);
    socket.once('connect', () => {
      clearTimeout(timer);
      socket.setTimeout(idleDeadlineMs, () => socket.destroy());
      resolve(socket);
    });
    socket.on('error', (error) => {
      clearTimeout(timer);
      reject(error);
    });
  });
}

async function dig(
  { incoming, tunnel, head }: { incoming: IncomingMessage; tunnel: Duplex; head: Buffer },
  open: Open,
): Promise<void> {
  tunnel.on('error', () => tunnel.destroy());
  const destination = parseHostPort(incoming.url ?? '');
  const outcome = destination
    ? await tryOpen(destination, open)
    : { status: 400, message: 'CONNECT needs host:port.' };
  if (!('socket' in outcome)) {
    tunnel.end(refusal(outcome.status, outcome.message));
    return;
  }
  const { socket } = outcome;
  tunnel.once('close', () => socket.destroy());
  tunnel.write('HTTP/1.1 200 Connection established\r\n\r\n');
  if (head.length > 0) socket.write(head);
  await Promise.allSettled([pipeline(tunnel, socket), pipeline(socket, tunnel)]);
}

async function forward(incoming: IncomingMessage, response: ServerResponse, open: Open): Promise<void> {
  const url = URL.parse(incoming.url ?? '');
  if (url?.protocol !== 'http:' || url.username !== '' || url.password !== '') {
    sendRefusal(response, 400, 'This is a forward proxy: it takes http:// URLs and CONNECT.');
    return;
  }
  const destination = { host: url.hostname, port: url.port === '' ? 80 : Number(url.port) };
  const outcome = await tryOpen(destination, open);
  if (!('socket' in outcome)) {
    sendRefusal(response, outcome.status, outcome.message);
    return;
  }
  const { socket } = outcome;
  response.once('close', () => socket.destroy());
  const outgoing = request({
    // One connection for one request: it was opened to the address that was checked.
    agent: new Agent({ maxSockets: 1 }),
    createConnection: () => socket,
    method: incoming.method ?? 'GET',
    path: `${url.pathname}${url.search}`,
    headers: { ...passedHeaders(incoming), host: url.host, connection: 'close' },
  });
  outgoing.once('response', (answer) => {
    response.writeHead(answer.statusCode ?? 502, passedHeaders(answer));
    pipeline(answer, response).catch(() => response.destroy());
  });
  outgoing.on('error', (error) => sendRefusal(response, 502, error.message));
  pipeline(incoming, outgoing).catch(() => outgoing.destroy());
}

async function tryOpen(destination: HostPort, open: Open): Promise<Outcome> {
  try {
    return await open(destination);
  } catch (error) {
    return { status: 502, message: error instanceof Error ? error.message : 'not connected' };
  }
}

function passedHeaders({ headers }: IncomingMessage): Record<string, string | string[]> {
  const named = new Set((headers.connection ?? '').split(',').map((name) => name.trim().toLowerCase()));
  const kept = Object.entries(headers).filter(([name]) => !hopByHop.has(name) && !named.has(name));
  return Object.fromEntries(kept.flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])));
}

function sendRefusal(response: ServerResponse, status: number, message: string): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  response.writeHead(status, { 'content-type': 'text/plain', connection: 'close' }).end(`kiln: ${message}\n`);
}

function refusal(status: number, message: string): string {
  const body = `kiln: ${message}\n`;
  return `HTTP/1.1 ${status} Refused\r\ncontent-type: text/plain\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`;
}

/** node:http asks these of a connection; an ssh channel has no socket below that they could set. */
function likeSocket(connection: Duplex): Duplex {
  const nothing = (): Duplex => connection;
  return Object.assign(connection, {
    setTimeout: nothing,
    setNoDelay: nothing,
    setKeepAlive: nothing,
    ref: nothing,
    unref: nothing,
  });
}
