import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import express, { Router } from 'express';
import { errorKinds } from '../model/error.ts';
import { statusOfKind } from './error-table.ts';
import { createOpenApiDocument } from './openapi.ts';

/** The API's own description: `/openapi.json`, its page at `/docs`, and a line of curl for whoever opens the root. */
export function createDocsRoutes(): Router {
  const router = Router();
  const document = createOpenApiDocument();
  router.get('/openapi.json', (_request, response) => void response.json(document));
  router.get('/', (request, response) => {
    const url = `http://${request.headers.host}`;
    response
      .type('text/plain')
      .send(
        `kiln builds Dockerfiles, each in a VM made for it.\n\n  tar -czf - . | curl -N -F context=@- ${url}/build\n\nAPI: ${url}/docs\n`,
      );
  });
  router.get('/docs', (_request, response) => void response.type('html').send(page));
  router.get('/docs/initializer.js', (_request, response) => void response.type('js').send(initializer));
  router.get('/docs/errors', (_request, response) => void response.type('text/plain').send(errorList()));
  // Served by us: nobody has to trust or reach another site to read the API.
  router.use(
    '/docs/assets',
    express.static(dirname(createRequire(import.meta.url).resolve('swagger-ui-dist/package.json')), {
      index: false,
    }),
  );
  return router;
}

const page = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>kiln API</title>
<link rel="stylesheet" href="/docs/assets/swagger-ui.css">
<div id="swagger-ui"></div>
<script src="/docs/assets/swagger-ui-bundle.js"></script>
<script src="/docs/initializer.js"></script>
</html>
`;

/** A file and not inline: the page's Content-Security-Policy forbids inline scripts. */
const initializer = `window.SwaggerUIBundle({ url: '/openapi.json', dom_id: '#swagger-ui' });\n`;

function errorList(): string {
  const lines = Object.entries(errorKinds).map(
    ([code, kind]) => `${code.padEnd(28)} HTTP ${statusOfKind[kind]}  ${kind}`,
  );
  return `The codes of kiln's errors, the same over HTTP (problem+json) and gRPC (ErrorInfo.reason).\n\n${lines.join('\n')}\n`;
}
