import { randomUUID } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import express, { type ErrorRequestHandler, type Express, type RequestHandler } from 'express';
import helmet from 'helmet';
import type { Log } from '../lib/log.ts';
import type { Builds } from '../model/builds.ts';
import { KilnError } from '../model/error.ts';
import { postBuild } from './build.ts';
import { createDocsRoutes } from './docs.ts';
import { sendProblem, toProblem } from './error-table.ts';
import { guardBrowsers } from './guards.ts';
import { createRecordRoutes } from './records.ts';
import { refuseEarly } from './upload.ts';

export type HttpSettings = {
  /** Further host names the service may be called by. */
  readonly hosts: readonly string[];
  readonly uploadMaxBytes: number;
};

export type HttpServer = {
  /** @throws KilnError CONFIG_INVALID when the address cannot be listened on. */
  listen(address: { host: string; port: number }): Promise<{ url: string }>;
  /** Stops accepting and ends every connection. */
  close(): Promise<void>;
};

export function createHttpServer(options: { builds: Builds; settings: HttpSettings; log: Log }): HttpServer {
  const app = createApp(options);
  const server = createServer(
    {
      headersTimeout: 15_000,
      requestTimeout: 0,
      connectionsCheckingInterval: 5000,
      keepAliveTimeout: 5000,
      maxHeaderSize: 16 * 1024,
    },
    app,
  );
  server.maxHeadersCount = 100;
  server.maxConnections = 1000;
  // A client that asks first is told before it sends: nothing of a refused body crosses the wire.
  server.on('checkContinue', (request, response) => {
    try {
      refuseEarly(request, options.settings.uploadMaxBytes);
      response.writeContinue();
    } catch {
      // The application says the same, as an answer.
    }
    app(request, response);
  });
  return {
    listen: (address) => listen(server, address),
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}

function createApp({ builds, settings, log }: { builds: Builds; settings: HttpSettings; log: Log }): Express {
  const app = express();
  app.disable('x-powered-by').disable('etag').set('query parser', 'simple');
  app.use(nameRequest, helmet({ strictTransportSecurity: false }), guardBrowsers(settings.hosts));
  const post = postBuild({ builds, uploadMaxBytes: settings.uploadMaxBytes, log });
  app.post('/build', post).all('/build', refuseMethod('POST'));
  app.post('/v1/builds', post);
  app.use('/v1/builds', createRecordRoutes(builds));
  app.get('/livez', (_request, response) => void response.json({ alive: true }));
  app.get('/readyz', (_request, response) => {
    const readiness = builds.readiness();
    response.status(readiness.ready ? 200 : 503).json(readiness);
  });
  app.use(createDocsRoutes());
  app.use(() => {
    throw new KilnError('NOT_FOUND', 'There is nothing at this address; /docs lists what there is.');
  });
  app.use(answerErrors(log));
  return app;
}

/** Echoes the caller's request id, or makes one. */
const nameRequest: RequestHandler = (request, response, next) => {
  const given = request.headers['x-request-id'];
  response.set(
    'X-Request-Id',
    typeof given === 'string' && /^[\w.-]{1,128}$/.test(given) ? given : randomUUID(),
  );
  next();
};

function refuseMethod(allow: string): RequestHandler {
  return (_request, response) => {
    response.set('Allow', allow);
    throw new KilnError('METHOD_NOT_ALLOWED', `Only ${allow} is possible here.`);
  };
}

/** The one place where a failed request is answered and logged. */
function answerErrors(log: Log): ErrorRequestHandler {
  return (error: unknown, request, response, _next) => {
    const requestId = String(response.getHeader('X-Request-Id'));
    const { status, code, detail } = toProblem(error, requestId);
    const fields = { requestId, method: request.method, path: request.path, status, code };
    if (status >= 500) log.error({ ...fields, error, cause: KilnError.from(error).cause }, detail);
    else log.info(fields, detail);
    if (response.headersSent) response.destroy();
    else sendProblem(response, error, requestId);
  };
}

async function listen(
  server: Server,
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
  return { url: `http://${host.includes(':') ? `[${host}]` : host}:${actual}` };
}
