import type { RequestHandler } from 'express';
import { KilnError } from '../model/error.ts';

/** Names by which the service may always be called: another one means that a web page has rebound its name to us. */
const loopbackNames = new Set(['localhost', '127.0.0.1', '[::1]']);

/** Rows 85 and 86 of what browsers do: DNS rebinding, and pages of other sites that post to us. Before any body is read. */
export function guardBrowsers(hosts: readonly string[]): RequestHandler {
  const own = new Set([...loopbackNames, ...hosts.map((host) => host.toLowerCase())]);
  return (request, _response, next) => {
    const name = nameOf(request.headers.host ?? '');
    if (!own.has(name)) {
      throw new KilnError(
        'HOST_NOT_ALLOWED',
        'The service is not called by this host name; add it to KILN_HOSTS.',
      );
    }
    const { origin } = request.headers;
    const foreign = origin !== undefined && (!URL.canParse(origin) || !own.has(nameOf(new URL(origin).host)));
    const crossSite = request.headers['sec-fetch-site'] === 'cross-site';
    const publicPage = request.method === 'GET' && !request.path.startsWith('/v1/') && origin === undefined;
    if (foreign || (crossSite && !publicPage)) {
      throw new KilnError('ORIGIN_NOT_ALLOWED', 'Web pages of other sites may not use this service.');
    }
    next();
  };
}

function nameOf(host: string): string {
  return host.replace(/:\d+$/, '').toLowerCase();
}
