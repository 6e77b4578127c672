import { createServer, type IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { EgressDestination } from '../model/build.ts';
import type { EgressPolicy } from './egress-policy.ts';
import { EgressRecord } from './egress-record.ts';
import { forwardRequest } from './forward-request.ts';
import { createOutbound, type Open } from './outbound.ts';
import { joinTunnel } from './tunnel.ts';

/** One guest's way out: a forward proxy that listens nowhere. Disposing cuts every connection. */
export type EgressProxy = Disposable & {
  /** Takes one connection of the guest. */
  accept(connection: Duplex): void;
  destinations(): EgressDestination[];
};

/** Of an ssh channel that nobody reads, ssh2 holds up to 2 MiB: this many of them bound what a guest can make us hold. */
const maxConnections = 128;
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
  /** Each with what ends all that was done for it. */
  const connections = new Map<Duplex, AbortController>();
  let stopped = false;
  const outbound = createOutbound({ policy, record });
  const openFor = (connection: Duplex): Open => {
    const signal = connections.get(connection)?.signal ?? AbortSignal.abort();
    return (destination) => outbound(destination, signal);
  };
  const server = createServer({ maxHeaderSize: maxHeaderBytes });
  server.on('request', (incoming, response) => {
    void forwardRequest(incoming, response, openFor(incoming.socket));
  });
  server.on('connect', ({ url }: IncomingMessage, tunnel: Duplex, head: Buffer) => {
    void joinTunnel({ authority: url ?? '', tunnel, head }, openFor(tunnel));
  });
  server.on('clientError', (_error, connection) => connection.destroy());
  return {
    accept(channel) {
      const connection = likeSocket(channel);
      connection.on('error', () => connection.destroy());
      if (stopped || connections.size >= maxConnections) {
        connection.destroy();
        return;
      }
      const gone = new AbortController();
      connections.set(connection, gone);
      connection.once('close', () => {
        connections.delete(connection);
        gone.abort();
      });
      server.emit('connection', connection);
    },
    destinations: () => record.list(),
    [Symbol.dispose]() {
      stopped = true;
      for (const [connection, gone] of connections) {
        gone.abort();
        connection.destroy();
      }
    },
  };
}

/** What node:http asks of a connection, for an ssh channel, which has no socket below that could be set. */
function likeSocket(channel: Duplex): Duplex {
  const nothing = (): Duplex => channel;
  // node:http stops reading further requests of a connection while this much of its answers waits; an ssh channel says 2 MiB.
  Object.defineProperty(channel, 'writableHighWaterMark', { value: 16 * 1024 });
  const destroy = channel.destroy.bind(channel);
  return Object.assign(channel, {
    setTimeout: nothing,
    setNoDelay: nothing,
    setKeepAlive: nothing,
    ref: nothing,
    unref: nothing,
    // An ssh channel says that it is closed only after all of it was read.
    destroy: (error?: Error) => {
      channel.removeAllListeners('data').resume();
      return destroy(error);
    },
    // After the last answer: a guest that does not close its end must not keep the connection.
    destroySoon: () => channel.end(() => channel.destroy()),
  });
}
