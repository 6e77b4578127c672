import { type IncomingMessage, request, type ServerResponse } from 'node:http';
import { pipeline } from 'node:stream/promises';
import { canonicalHost, type HostPort } from './host-port.ts';
import { type Open, type Refusal, refusalOf } from './outbound.ts';

/** Headers that are for the next hop only (RFC 9110 7.6.1), those of the proxy itself, and what our own end has answered. */
const hopByHop = new Set([
  'connection',
  'expect',
  'host',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

type Target = { readonly destination: HostPort; readonly authority: string; readonly path: string };

/** Sends one plain request on and its answer back, both as streams. Never rejects. */
export async function forwardRequest(
  incoming: IncomingMessage,
  response: ServerResponse,
  open: Open,
): Promise<void> {
  const target = parseTarget(incoming.url ?? '');
  if (!target) {
    const message = 'This is a proxy: it takes http:// URLs without a user, and CONNECT.';
    refuse(response, { status: 400, message });
    return;
  }
  const outcome = await open(target.destination);
  if (!('socket' in outcome)) {
    refuse(response, outcome);
    return;
  }
  const { socket } = outcome;
  response.once('close', () => socket.destroy());
  try {
    const outgoing = request({
      createConnection: () => socket,
      method: incoming.method ?? 'GET',
      path: target.path,
      headers: requestHeaders(incoming, target.authority),
    });
    await relay(incoming, outgoing, response);
  } catch (error) {
    refuse(response, refusalOf(target.destination, error));
  }
}

async function relay(
  incoming: IncomingMessage,
  outgoing: ReturnType<typeof request>,
  response: ServerResponse,
): Promise<void> {
  pipeline(incoming, outgoing).catch(() => outgoing.destroy());
  const answer = await waitForAnswer(outgoing);
  response.writeHead(answer.statusCode ?? 502, passedHeaders(answer));
  await pipeline(answer, response);
}

function waitForAnswer(outgoing: ReturnType<typeof request>): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    outgoing.once('response', resolve);
    // Stays: an error may also come after the answer.
    outgoing.on('error', reject);
    // All that is said of an upgrade nobody asked for.
    outgoing.once('close', () => reject(new Error('it was closed without an answer')));
  });
}

function parseTarget(text: string): Target | null {
  // The path as it was sent: a signed URL must not be spelled anew.
  const [, authorityText, path = ''] = /^http:\/\/([^/?#\\@]+)([/?][^#]*)?(?:#|$)/i.exec(text) ?? [];
  const url = authorityText === undefined ? null : URL.parse(`http://${authorityText}/`);
  const host = canonicalHost(url?.hostname ?? '');
  if (!url || host === null || url.port === '0') return null;
  const port = url.port === '' ? 80 : Number(url.port);
  return { destination: { host, port }, authority: url.host, path: path.startsWith('/') ? path : `/${path}` };
}

function requestHeaders(incoming: IncomingMessage, host: string): Record<string, string | string[]> {
  // Said in words, since node sends a body of methods that rarely have one without any framing.
  const framing = 'transfer-encoding' in incoming.headers ? { 'transfer-encoding': 'chunked' } : {};
  return { ...passedHeaders(incoming), ...framing, host, connection: 'close' };
}

function passedHeaders({ headers }: IncomingMessage): Record<string, string | string[]> {
  const named = new Set((headers.connection ?? '').split(',').map((name) => name.trim().toLowerCase()));
  const kept = Object.entries(headers).filter(([name]) => !hopByHop.has(name) && !named.has(name));
  return Object.fromEntries(kept.flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])));
}

function refuse(response: ServerResponse, { status, message }: Refusal): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  response
    .writeHead(status, { 'content-type': 'text/plain; charset=utf-8', connection: 'close' })
    .end(`kiln: ${message}\n`);
}
