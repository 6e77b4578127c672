import type { RequestHandler } from 'express';
import { KilnError } from '../model/error.ts';

const maxHeaders = 100;

/** Names by which the service may always be called: another one means that a web page has rebound its name to us. */
const loopbackNames = ['localhost', '127.0.0.1', '[::1]'];

/** Node drops what is beyond its own limit without a word; one more than ours must be let through to be seen. */
export const headersSeen = maxHeaders + 1;

/** Refuses what Node lets through and others in front of us could take differently. */
export const guardHeaders: RequestHandler = (request, _response, next) => {
  const names = request.rawHeaders.filter((_, index) => index % 2 === 0).map((name) => name.toLowerCase());
  const problems: readonly (readonly [isSo: boolean, what: string])[] = [
    [
      names.length > maxHeaders || names.includes('__proto__'),
      `has more than ${maxHeaders} headers, or a bad one`,
    ],
    [names.indexOf('host') !== names.lastIndexOf('host'), 'has more than one Host'],
    [
      /,\s*chunked$/i.test(request.headers['transfer-encoding'] ?? ''),
      'has another transfer coding besides chunked',
    ],
    [!request.url.startsWith('/'), 'must name a path, not a whole URL'],
  ];
  const found = problems.find(([isSo]) => isSo);
  if (found) throw new KilnError('REQUEST_INVALID', `The request ${found[1]}.`);
  next();
};

/** What browsers can be made to do: DNS rebinding, and pages of other sites that post to us. Before any body is read. */
export function guardBrowsers(hosts: readonly string[]): RequestHandler {
  const configured = new Set(hosts.map((host) => host.toLowerCase()));
  const own = new Set([...loopbackNames, ...configured]);
  return (request, _response, next) => {
    const host = request.headers.host ?? '';
    if (!own.has(nameOf(host))) {
      throw new KilnError(
        'HOST_NOT_ALLOWED',
        'The service is not called by this host name; use its own, or add it to KILN_HOSTS.',
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

/** The page's own host and port: other services of this machine are other sites. Behind a proxy, a configured name. */
function isOwnOrigin(origin: string, host: string, configured: ReadonlySet<string>): boolean {
  if (!URL.canParse(origin)) return false;
  const url = new URL(origin);
  return url.host === host.toLowerCase() || configured.has(url.hostname);
}

/** What a link on any page may open: it tells nothing about builds. */
function isPublicPage({ method, path }: { method: string; path: string }): boolean {
  const reads = method === 'GET' || method === 'HEAD';
  return reads && (path === '/' || path === '/openapi.json' || path === '/docs' || path.startsWith('/docs/'));
}

function nameOf(host: string): string {
  return host.replace(/:\d+$/, '').toLowerCase();
}
