import { STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import { parseHostPort } from './host-port.ts';
import type { Open, Refusal } from './outbound.ts';

/** What a guest sent with CONNECT: where to, the connection, and what it sent ahead of our answer. */
export type Connect = { readonly authority: string; readonly tunnel: Duplex; readonly head: Buffer };

/** Joins a guest's connection with one to where it wants to go, each way until its end. Never rejects. */
export async function joinTunnel({ authority, tunnel, head }: Connect, open: Open): Promise<void> {
  const destination = parseHostPort(authority);
  const outcome = destination
    ? await open(destination)
    : { status: 400, message: 'CONNECT takes host:port.' };
  if (!('socket' in outcome)) {
    tunnel.end(formatRefusal(outcome), () => tunnel.destroy());
    return;
  }
  const { socket } = outcome;
  socket.once('close', () => {
    tunnel.end(() => tunnel.destroy());
    // What the guest still sends has nowhere to go, and would hide its end.
    tunnel.resume();
  });
  tunnel.write('HTTP/1.1 200 Connection established\r\n\r\n');
  if (head.length > 0) socket.write(head);
  tunnel.pipe(socket).pipe(tunnel);
}

function formatRefusal({ status, message }: Refusal): string {
  const body = `kiln: ${message}\n`;
  const lines = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Refused'}`,
    'Content-Type: text/plain; charset=utf-8',
    `Content-Length: ${Buffer.byteLength(body)}`,
    'Connection: close',
  ];
  return `${lines.join('\r\n')}\r\n\r\n${body}`;
}
