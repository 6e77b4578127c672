import { once } from 'node:events';
import { createServer as createHttpServer, type RequestListener } from 'node:http';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { type Duplex, duplexPair } from 'node:stream';
import { text } from 'node:stream/consumers';
import { createEgressPolicy } from '../../src/egress/egress-policy.ts';
import { createEgressProxy, type EgressProxy } from '../../src/egress/egress-proxy.ts';
import type { EgressDestination } from '../../src/model/build.ts';

export type Listening = AsyncDisposable & { readonly port: number };

/** A web server on loopback: what guests are after. */
export function serveHttp(listener: RequestListener): Promise<Listening> {
  return listen(createHttpServer(listener));
}

/** A server on loopback that speaks no HTTP, or a bad one. */
export function serve(listener: (socket: Socket) => void): Promise<Listening> {
  return listen(createServer({ allowHalfOpen: true }, listener));
}

async function listen(server: Server): Promise<Listening> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.once('close', () => sockets.delete(socket));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

export type TestProxy = Disposable & {
  readonly proxy: EgressProxy;
  /** Destinations in the order they were told. */
  readonly told: EgressDestination[];
  /** A connection of the guest: the guest's end. */
  connect(): Duplex;
  /** Sends bytes on a connection of their own; resolves with all that comes back. */
  send(bytes: string): Promise<string>;
};

/** A proxy whose names all are this machine and whose ports named are open, as if the operator had set them. */
export function createTestProxy(open: readonly number[], resolve = async () => ['127.0.0.1']): TestProxy {
  const told: EgressDestination[] = [];
  const policy = createEgressPolicy({
    allow: open.map((port) => ({ host: 'origin.test', port })),
    mirrors: [],
    resolve: { set: resolve, chosen: resolve },
  });
  const proxy = createEgressProxy({ policy, onDestination: (destination) => told.push(destination) });
  const connectGuest = (): Duplex => {
    const [guest, host] = duplexPair();
    guest.on('error', () => undefined);
    // As with an ssh channel, what one side closes is closed for the other.
    guest.once('close', () => host.destroy());
    host.once('close', () => guest.end());
    proxy.accept(host);
    return guest;
  };
  return {
    proxy,
    told,
    connect: connectGuest,
    send(bytes) {
      const guest = connectGuest();
      guest.write(bytes);
      return text(guest);
    },
    [Symbol.dispose]: () => proxy[Symbol.dispose](),
  };
}

/** A real TCP connection whose other end the proxy has. */
export async function connectOverTcp(
  proxy: EgressProxy,
): Promise<AsyncDisposable & { readonly guest: Socket }> {
  const server = createServer({ allowHalfOpen: true }, (socket) => proxy.accept(socket)).listen(
    0,
    '127.0.0.1',
  );
  await once(server, 'listening');
  const guest = connect({
    port: (server.address() as AddressInfo).port,
    host: '127.0.0.1',
    allowHalfOpen: true,
  });
  await once(guest, 'connect');
  return {
    guest,
    async [Symbol.asyncDispose]() {
      guest.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

/** Resolves when what was read from the stream so far ends with `tail`; with all of it. */
export async function readUntil(stream: Duplex, tail: string): Promise<string> {
  let seen = '';
  while (!seen.endsWith(tail)) {
    const chunk: Buffer | null = stream.read();
    if (chunk) seen += chunk.toString('latin1');
    else await once(stream, 'readable');
  }
  return seen;
}
