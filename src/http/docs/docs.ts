import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import express, { type RequestHandler } from 'express';
import { renderErrorPage } from './error-page.ts';
import { createOpenApiDocument } from './openapi.ts';

export type Docs = {
  readonly pages: Readonly<Record<string, { readonly get: RequestHandler }>>;
  /** Swagger UI's files, served by us: nobody has to trust or reach another site to read the API. */
  readonly assets: RequestHandler;
};

/** The API's own description: `/openapi.json`, its page at `/docs`, and a line of curl for whoever opens the root. */
export function createDocs(): Docs {
  const document = createOpenApiDocument();
  const errors = renderErrorPage();
  const library = dirname(createRequire(import.meta.url).resolve('swagger-ui-dist/package.json'));
  return {
    pages: {
      '/': {
        get: (request, response) =>
          void response.type('text/plain').send(greeting(`${request.protocol}://${request.headers.host}`)),
      },
      '/openapi.json': { get: (_request, response) => void response.json(document) },
      '/docs': { get: (_request, response) => void response.type('html').send(page) },
      '/docs/errors': { get: (_request, response) => void response.type('html').send(errors) },
      '/docs/initializer.js': { get: (_request, response) => void response.type('js').send(initializer) },
    },
    assets: express.static(library, { index: false, redirect: false }),
  };
}

function greeting(url: string): string {
  return `kiln builds Dockerfiles, each in a VM made for it.

  tar -czf - . | curl -N --fail-with-body -F context=@- ${url}/build

Where it asks for a token: -H "Authorization: Bearer $KILN_TOKEN"

API: ${url}/docs
`;
}

const page = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>kiln API</title>
<link rel="icon" href="/docs/assets/favicon-32x32.png">
<link rel="stylesheet" href="/docs/assets/swagger-ui.css">
<div id="swagger-ui"></div>
<script src="/docs/assets/swagger-ui-bundle.js"></script>
<script src="/docs/initializer.js"></script>
</html>
`;

/** A file and not inline: the page's Content-Security-Policy forbids inline scripts. */
const initializer = `window.SwaggerUIBundle({ url: '/openapi.json', dom_id: '#swagger-ui', deepLinking: true });\n`;
