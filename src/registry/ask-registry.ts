import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { request as ask, type IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { connect as startTls } from 'node:tls';

export type Dial = (
  target: { readonly host: string; readonly port: number },
  signal: AbortSignal,
) => Promise<Socket>;

/** An answer, read whole. */
export type Answer = {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
};

/** A manifest has less, and so has what gives tokens. */
const maxBodyBytes = 4 * 1024 * 1024;

/**
 * One request over a connection of its own, which `dial` makes: whoever names a host to kiln leads it nowhere that builds may not go. TLS is
 * checked for the host that was named. Redirects are not followed.
 */
export async function askRegistry(
  { url, headers, form }: { url: URL; headers: Record<string, string>; form?: URLSearchParams },
  dial: Dial,
  signal: AbortSignal,
): Promise<Answer> {
  const isTls = url.protocol === 'https:';
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const port = url.port === '' ? (isTls ? 443 : 80) : Number(url.port);
  const plain = await dial({ host, port }, signal);
  const socket = isTls ? startTls({ socket: plain, host, servername: host }) : plain;
  try {
    if (isTls) await once(socket, 'secureConnect', { signal });
    const asked = ask({
      createConnection: () => socket,
      ...{ method: form ? 'POST' : 'GET', host, port, path: url.pathname + url.search, signal },
      headers: {
        ...{ 'User-Agent': 'kiln', Connection: 'close', ...headers },
        ...(form && { 'Content-Type': 'application/x-www-form-urlencoded' }),
      },
    });
    // Also once nobody waits for it any more.
    asked.on('error', () => undefined).end(form?.toString());
    const [answer]: IncomingMessage[] = await once(asked, 'response', { signal });
    if (!answer) throw new Error('There was no answer.');
    return { status: answer.statusCode ?? 0, headers: answer.headers, body: await readBody(answer) };
  } finally {
    socket.on('error', () => undefined).destroy();
  }
}

export function digestOf(body: Buffer): string {
  return `sha256:${createHash('sha256').update(body).digest('hex')}`;
}

async function readBody(answer: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > maxBodyBytes) throw new Error(`The registry answered with more than ${maxBodyBytes} bytes.`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
