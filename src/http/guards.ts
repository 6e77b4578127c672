import type { RequestHandler } from 'express';
import { KilnError } from '../model/error.ts';

const maxHeaders = 100;

/** Names by which the service may always be called: another one means that a web page has rebound its name to us. */
const loopbackNames = ['localhost', '127.0.0.1', '[::1]'];

/** Node silently drops headers beyond its own limit: it keeps one more than we allow, so that we see when there are too many. */
export const headersSeen = maxHeaders + 1;

/** Refuses requests that Node takes but that a proxy in front of us may read differently. */
export const guardHeaders: RequestHandler = (request, _response, next) => {
  const names = request.rawHeaders.filter((_, index) => index % 2 === 0).map((name) => name.toLowerCase());
  const problems: readonly (readonly [isSo: boolean, what: string])[] = [
    [
      names.length > maxHeaders || names.includes('__proto__'),
      `has more than ${maxHeaders} headers, or a bad one`,
    ],
    ...['Host', 'Authorization'].map((name) => [isTwice(names, name), `has more than one ${name}`] as const),
    [
      /,\s*chunked$/i.test(request.headers['transfer-encoding'] ?? ''),
      'has another transfer coding besides chunked',
    ],
    [!request.url.startsWith('/'), 'must name a path, not a whole URL'],
    [request.headers.host === undefined, 'has no Host'],
  ];
  const found = problems.find(([isSo]) => isSo);
  if (found) throw new KilnError('REQUEST_INVALID', `The request ${found[1]}.`);
  next();
};

function isTwice(names: readonly string[], name: string): boolean {
  return names.indexOf(name.toLowerCase()) !== names.lastIndexOf(name.toLowerCase());
}

/** Refuses what a web page can make a browser do: reach us by DNS rebinding, or post from another site. Comes before any body is read. */
export function guardBrowsers(hosts: readonly string[]): RequestHandler {
  const configured = new Set(hosts.map((host) => host.toLowerCase()));
  const own = new Set([...loopbackNames, ...configured]);
  return (request, _response, next) => {
    const host = request.headers.host ?? '';
    if (!own.has(nameOf(host))) {
      throw new KilnError(
        'HOST_NOT_ALLOWED',
        'This host name is not one of the service; use localhost or its address, or add the name to KILN_HOSTS.',
      );
    }
    const { origin } = request.headers;
    const crossSite =
      request.headers['sec-fetch-site'] === 'cross-site' ||
      (origin !== undefined && !isOwnOrigin(origin, host, configured));
    if (crossSite && !isPublicPage(request)) {
      throw new KilnError('ORIGIN_NOT_ALLOWED', 'Web pages of other sites may not use this service.');
    }
    next();
  };
}

/** The same host and port as the request's: another port is another site. Behind a proxy it is a configured name. */
function isOwnOrigin(origin: string, host: string, configured: ReadonlySet<string>): boolean {
  if (!URL.canParse(origin)) return false;
  const url = new URL(origin);
  return url.host === host.toLowerCase() || configured.has(url.hostname);
}

/** Pages that tell nothing about builds: any site may link to them. */
function isPublicPage({ method, path }: { method: string; path: string }): boolean {
  const reads = method === 'GET' || method === 'HEAD';
  return reads && (path === '/' || path === '/openapi.json' || path === '/docs' || path.startsWith('/docs/'));
}

function nameOf(host: string): string {
  return host.replace(/:\d+$/, '').toLowerCase();
}
