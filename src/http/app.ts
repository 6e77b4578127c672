import express, { type Express, type RequestHandler } from 'express';
import helmet from 'helmet';
import { KilnError } from '../model/error.ts';
import { readOrigin } from '../model/request-origin.ts';
import { answerErrors, notFound } from './answer-error.ts';
import { getArtifact } from './artifact.ts';
import { type BuildEdge, postBuild } from './build.ts';
import { createDocs } from './docs/docs.ts';
import { guardBrowsers, guardHeaders } from './guards.ts';
import { getBuildLog, getEvents, getOperationLog } from './log-and-events.ts';
import { getMetrics, type MetricsEdge } from './metrics.ts';
import {
  cancelOperation,
  getEvidence,
  getOperation,
  listOperations,
  type OperationEdge,
  prune,
  rebuild,
  resume,
  rollBack,
} from './operations.ts';
import { getCatalog, getReadiness, getVersion } from './probes.ts';
import { cancelBuild, cancelMatrix, getBuild, getMatrix, listBuilds } from './records.ts';
import { withCaller } from './with-caller.ts';

type Methods = Partial<Record<'get' | 'post' | 'delete', RequestHandler>>;

type Edge = BuildEdge & OperationEdge & MetricsEdge;

/** Every address of the API; the document must know the same. */
export function createRoutes(edge: Edge): Readonly<Record<string, Methods>> {
  const known = withCaller(edge.authenticate);
  const post = known(postBuild(edge));
  return {
    '/build': { post },
    '/v1/builds': { get: known(listBuilds(edge)), post },
    '/v1/builds/:id': { get: known(getBuild(edge)), delete: known(cancelBuild(edge)) },
    '/v1/builds/:id/log': { get: known(getBuildLog(edge.builds, edge.settings)) },
    '/v1/builds/:id/events': { get: known(getEvents(edge.builds, edge.settings)) },
    '/v1/builds/:id/artifact': { get: known(getArtifact(edge)) },
    '/v1/matrices/:id': { get: known(getMatrix(edge)), delete: known(cancelMatrix(edge)) },
    '/admin/images/rebuild': { post: known(rebuild(edge)) },
    '/admin/images/rollback': { post: known(rollBack(edge)) },
    '/admin/prune': { post: known(prune(edge)) },
    '/admin/operations': { get: known(listOperations(edge)) },
    '/admin/operations/:id': { get: known(getOperation(edge)), delete: known(cancelOperation(edge)) },
    '/admin/operations/:id/resume': { post: known(resume(edge)) },
    '/admin/operations/:id/sbom': { get: known(getEvidence(edge, 'sbom')) },
    '/admin/operations/:id/provenance': { get: known(getEvidence(edge, 'provenance')) },
    '/admin/operations/:id/log': { get: known(getOperationLog(edge.operations, edge.settings)) },
    '/admin/operations/:id/events': { get: known(getEvents(edge.operations, edge.settings)) },
    '/catalog': { get: known(getCatalog(edge.builds)) },
    '/metrics': { get: known(getMetrics(edge)) },
    '/version': { get: known(getVersion(edge.builds)) },
    // Whoever watches over the process has no token.
    '/livez': { get: (_request, response) => void response.json({ alive: true }) },
    '/readyz': { get: getReadiness(edge) },
  };
}

export function createApp(edge: Edge): Express {
  const app = express();
  app.disable('x-powered-by').disable('etag').set('query parser', 'simple');
  app.use(nameRequest, securityHeaders(), guardHeaders, guardBrowsers(edge.settings.hosts));
  const { pages, assets } = createDocs();
  const routes: Readonly<Record<string, Methods>> = { ...createRoutes(edge), ...pages };
  for (const [path, methods] of Object.entries(routes)) {
    const route = app.route(path);
    if (methods.get) route.get(methods.get);
    if (methods.post) route.post(methods.post);
    if (methods.delete) route.delete(methods.delete);
    route.all(refuseMethod(methods));
  }
  app.use('/docs/assets', assets);
  app.use(() => {
    throw notFound();
  });
  app.use(answerErrors(edge.logger, edge.settings.readerStallMs));
  return app;
}

/** Echoes the caller's request id, or makes one. Nothing but files named by their digest may be cached. */
const nameRequest: RequestHandler = (request, response, next) => {
  const { requestId } = readOrigin(request.headers['x-request-id'], undefined);
  response.set({ 'X-Request-Id': requestId, 'Cache-Control': 'no-store' });
  next();
};

function securityHeaders(): RequestHandler {
  return helmet({
    // Whether a proxy in front of us speaks TLS is not known here.
    strictTransportSecurity: false,
    contentSecurityPolicy: {
      useDefaults: false,
      directives: {
        defaultSrc: ["'none'"],
        scriptSrc: ["'self'"],
        // Swagger UI sets style attributes.
        styleSrc: ["'self'", "'unsafe-inline'"],
        imgSrc: ["'self'", 'data:'],
        connectSrc: ["'self'"],
        baseUri: ["'none'"],
        formAction: ["'none'"],
        frameAncestors: ["'none'"],
      },
    },
  });
}

function refuseMethod(methods: Methods): RequestHandler {
  const allowed = Object.keys(methods).flatMap((method) => (method === 'get' ? ['GET', 'HEAD'] : [method]));
  const allow = allowed.join(', ').toUpperCase();
  return (_request, response) => {
    response.set('Allow', allow);
    throw new KilnError('METHOD_NOT_ALLOWED', `Only ${allow} is possible here.`);
  };
}
