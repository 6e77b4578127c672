import { createServer, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { Socket } from 'node:net';
import type { Logger } from '../lib/logger.ts';
import type { Builds } from '../model/builds.ts';
import type { Authenticate } from '../model/caller.ts';
import { KilnError } from '../model/error.ts';
import type { Operations } from '../model/operations.ts';
import { createApp } from './app.ts';
import { answerClientErrors } from './client-error.ts';
import { headersSeen } from './guards.ts';
import type { MetricsSource } from './metrics.ts';
import {
  completeSettings,
  type GivenHttpSettings,
  type HttpSettings,
  minimumUploadRate,
} from './settings.ts';

export type HttpServer = {
  /** @throws KilnError CONFIG_INVALID when the address cannot be listened on. */
  listen(address: { host: string; port: number }): Promise<{ url: string }>;
  /** Stops accepting, gives the answers under way `graceMs`, then ends every connection. */
  close(graceMs?: number): Promise<void>;
};

/** How long answers have at the end of the server, in ms: enough for the last lines of builds that have just ended. */
const defaultGraceMs = 2000;

/** The HTTP API, over HTTP/1.1, with TLS where there is an identity for it. */
export function createHttpServer(options: {
  builds: Builds;
  operations: Operations;
  authenticate: Authenticate;
  metrics: MetricsSource;
  settings: GivenHttpSettings;
  logger: Logger;
}): HttpServer {
  const { builds, operations, authenticate, metrics, logger } = options;
  const settings = completeSettings(options.settings);
  const server = createNodeServer(settings);
  const app = createApp({ builds, operations, authenticate, metrics, settings, logger });
  // Without a listener for checkContinue Node would ask for the body before anyone has looked at the headers.
  server.on('request', app).on('checkContinue', app);
  answerClientErrors(server);
  const sockets = trackSockets(server);
  const answered = (): void => {
    // An idle connection that is kept alive would hold up the end of the server.
    if (!server.listening) setImmediate(() => server.closeIdleConnections());
  };
  server.on('request', (_request, response) => response.once('close', answered));
  return {
    listen: (address) => listen(server, settings.tls ? 'https' : 'http', address),
    async close(graceMs = defaultGraceMs) {
      const closed = new Promise((resolve) => server.close(resolve));
      const force = setTimeout(() => {
        for (const socket of sockets) socket.destroy();
      }, graceMs);
      await closed;
      clearTimeout(force);
    },
  };
}

/** Also those whose handshake of TLS is not over: to Node's own list they are none yet. */
function trackSockets(server: Server): ReadonlySet<Socket> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  return sockets;
}

function createNodeServer({ headersMs, uploadMaxBytes, tls }: HttpSettings): Server {
  const options = {
    headersTimeout: headersMs,
    // Uploads have a stricter watch of their own; this ends any other request whose body does not end.
    requestTimeout: headersMs + Math.ceil((uploadMaxBytes / minimumUploadRate) * 1000),
    connectionsCheckingInterval: Math.min(5000, headersMs / 3),
    keepAliveTimeout: 5000,
    // Node itself would answer without a word; guardHeaders says what is wrong.
    requireHostHeader: false,
    maxHeaderSize: 16 * 1024,
    keepAlive: true,
    keepAliveInitialDelay: 30_000,
  };
  const server = tls
    ? createTlsServer({ ...options, ...tls, handshakeTimeout: headersMs })
    : createServer(options);
  server.maxHeadersCount = headersSeen;
  server.maxConnections = 1000;
  return server;
}

async function listen(
  server: Server,
  scheme: 'http' | 'https',
  { host, port }: { host: string; port: number },
): Promise<{ url: string }> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => {
      const message = `Cannot listen on ${host}:${port}: ${error.message}. Set KILN_LISTEN to another address.`;
      reject(new KilnError('CONFIG_INVALID', message, { cause: error }));
    });
    server.listen(port, host, resolve);
  });
  const address = server.address();
  const actual = typeof address === 'object' && address ? address.port : port;
  return { url: `${scheme}://${host.includes(':') ? `[${host}]` : host}:${actual}` };
}
