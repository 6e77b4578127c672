import { createServer, type IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { EgressDestination } from '../model/build.ts';
import type { EgressPolicy } from './egress-policy.ts';
import { EgressRecord } from './egress-record.ts';
import { forwardRequest } from './forward-request.ts';
import { createOutbound } from './outbound.ts';
import { joinTunnel } from './tunnel.ts';

/** One guest's way out: a forward proxy that listens nowhere. Disposing cuts every connection. */
export type EgressProxy = Disposable & {
  /** Takes one connection of the guest. */
  accept(connection: Duplex): void;
  destinations(): EgressDestination[];
};

const maxConnections = 256;
const maxHeaderBytes = 64 * 1024;

/**
 * HTTP proxy for CONNECT and for absolute http:// URLs. The guest is hostile: no request of it may crash us, reach what the
 * policy refuses, or hold more than its share of connections.
 */
export function createEgressProxy(options: {
  policy: EgressPolicy;
  /** Called at the first connection to each destination. */
  onDestination: (destination: EgressDestination) => void;
}): EgressProxy {
  const { policy, onDestination } = options;
  const record = new EgressRecord(onDestination);
  const stop = new AbortController();
  const connections = new Set<Duplex>();
  const open = createOutbound({ policy, record }, stop.signal);
  const server = createServer({ maxHeaderSize: maxHeaderBytes });
  server.on('request', (incoming, response) => void forwardRequest(incoming, response, open));
  server.on('connect', ({ url }: IncomingMessage, tunnel: Duplex, head: Buffer) => {
    void joinTunnel({ authority: url ?? '', tunnel, head }, open);
  });
  server.on('clientError', (_error, connection) => connection.destroy());
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

/** node:http asks these of a connection; an ssh channel has no socket below that they could set. */
function likeSocket(connection: Duplex): Duplex {
  const nothing = (): Duplex => connection;
  return Object.assign(connection, {
    setTimeout: nothing,
    setNoDelay: nothing,
    setKeepAlive: nothing,
    ref: nothing,
    unref: nothing,
    // After the last answer: a guest that does not close its end must not keep the connection.
    destroySoon: () => connection.end(() => connection.destroy()),
  });
}
