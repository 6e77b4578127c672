import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import type { TlsIdentity } from '../lib/tls-identity.ts';
import { KilnError } from '../model/error.ts';

/** The listening socket and its connections. grpc-js would keep both to itself, and has no way to end one connection. */
export type Connections = {
  /** @throws KilnError CONFIG_INVALID when the address cannot be listened on. */
  listen(address: { host: string; port: number }): Promise<{ port: number }>;
  /** Ends the connection of a client, named as `getPeer()` of its calls does. */
  drop(peer: string): void;
  /** Stops listening; resolves when the last connection has ended. */
  close(): Promise<void>;
  dropAll(): void;
};

/** How long a handshake of TLS may take, in ms. */
const handshakeMs = 15_000;

/**
 * @param onConnection Gets each connection once it can be spoken on.
 * @param options.maxConnections Further clients are refused by the closing of their socket.
 */
export function createConnections(
  onConnection: (socket: Socket) => void,
  { maxConnections, tls }: { maxConnections: number; tls: TlsIdentity | null },
): Connections {
  const sockets = new Map<string, Socket>();
  const server = tls
    ? createTlsServer({ ...tls, noDelay: true, ALPNProtocols: ['h2'], handshakeTimeout: handshakeMs })
    : createServer({ noDelay: true });
  server.on('connection', (socket) => {
    const peer = `${socket.remoteAddress}:${socket.remotePort}`;
    sockets.set(peer, socket);
    socket.once('close', () => sockets.delete(peer));
  });
  server.on(tls ? 'secureConnection' : 'connection', onConnection);
  server.maxConnections = maxConnections;
  return {
    async listen({ host, port }) {
      await once(server.listen(port, host), 'listening').catch((error: Error) => {
        const message = `Cannot listen on ${host}:${port}: ${error.message}. Set KILN_GRPC_LISTEN to another address.`;
        throw new KilnError('CONFIG_INVALID', message, { cause: error });
      });
      return { port: (server.address() as AddressInfo).port };
    },
    drop: (peer) => sockets.get(peer)?.destroy(),
    close: () => new Promise((resolve) => server.close(() => resolve())),
    dropAll() {
      for (const socket of sockets.values()) socket.destroy();
    },
  };
}
