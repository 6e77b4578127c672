import { isIPv4 } from 'node:net';
import type { Duplex } from 'node:stream';
import { type HostPort, parseHostPort } from './host-port.ts';

/** `tcp 255.255.255.255:65535` and its end. */
const maxLineBytes = 32;
/** Under emulation a busy guest is slow, but not that slow. */
const deadlineMs = 60_000;

/** What a guest wants of a stream: an address, or its names. */
export type Opening = HostPort | 'dns';

/** Reads the first line of a stream, and no byte behind it; null where it is none of ours, or does not come. Never rejects. */
export async function readOpening(stream: Duplex): Promise<Opening | null> {
  const line = await readLine(stream);
  if (line === 'dns') return 'dns';
  const target = line?.startsWith('tcp ') ? parseHostPort(line.slice(4)) : null;
  return target && isIPv4(target.host) ? target : null;
}

function readLine(stream: Duplex): Promise<string | null> {
  const { promise, resolve } = Promise.withResolvers<string | null>();
  let seen = Buffer.alloc(0);
  const finish = (line: string | null): void => {
    clearTimeout(timer);
    stream.off('readable', read).off('end', giveUp).off('close', giveUp);
    resolve(line);
  };
  const giveUp = (): void => finish(null);
  const read = (): void => {
    const chunk: Buffer | null = stream.read();
    if (!chunk) return;
    seen = Buffer.concat([seen, chunk]);
    const end = seen.subarray(0, maxLineBytes).indexOf('\n');
    if (end < 0 && seen.length < maxLineBytes) return;
    finish(end < 0 ? null : seen.toString('latin1', 0, end));
    if (seen.length > end + 1) stream.unshift(seen.subarray(end + 1));
  };
  const timer = setTimeout(giveUp, deadlineMs).unref();
  stream.on('readable', read).once('end', giveUp).once('close', giveUp);
  return promise;
}
