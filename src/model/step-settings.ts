import { isIP } from 'node:net';
import { z } from 'zod';

/** What RUN steps find in their container: `--add-host`, `--shm-size` and `--ulimit` of `docker build`. */

const maxItems = 64;
/** Far more than any VM has. */
const maxShmBytes = 1024 ** 4;
/** Those of Linux, as Docker calls them (docker/go-units). */
const limitNames = [
  ...['core', 'cpu', 'data', 'fsize', 'locks', 'memlock', 'msgqueue', 'nice', 'nofile', 'nproc', 'rss'],
  ...['rtprio', 'rttime', 'sigpending', 'stack'],
];
const limitPattern = new RegExp(`^(?:${limitNames.join('|')})=(-1|\\d{1,15})(?::(-1|\\d{1,15}))?$`);
const hostPattern = /^[a-zA-Z0-9_](?:[a-zA-Z0-9_.-]{0,251}[a-zA-Z0-9_])?$/;

export const extraHosts = z
  .array(z.string().refine(isExtraHost, { message: 'must be HOST=ADDRESS, with an IPv4 or IPv6 address' }))
  .max(maxItems, `at most ${maxItems} are taken`)
  .default([])
  .meta({ description: 'Further lines of /etc/hosts of RUN steps, HOST=ADDRESS.' });

export const shmBytes = z
  .number()
  .int('must be whole bytes')
  .min(1, 'must be at least 1 byte')
  .max(maxShmBytes, `must be at most ${maxShmBytes} bytes`)
  .optional()
  .meta({ description: 'Size of /dev/shm of RUN steps, in bytes.' });

export const ulimits = z
  .array(
    z.string().refine(isUlimit, {
      message: `must be NAME=SOFT or NAME=SOFT:HARD, SOFT not above HARD, with one of ${limitNames.join(', ')}`,
    }),
  )
  .max(limitNames.length, `at most ${limitNames.length} are taken`)
  .default([])
  .meta({ description: 'Limits of RUN steps, NAME=SOFT or NAME=SOFT:HARD; -1 is none.' });

function isExtraHost(text: string): boolean {
  const at = text.indexOf('=');
  return hostPattern.test(text.slice(0, at)) && isIP(text.slice(at + 1)) !== 0;
}

function isUlimit(text: string): boolean {
  const [, soft, hard = soft] = limitPattern.exec(text) ?? [];
  if (soft === undefined) return false;
  return hard === '-1' || (soft !== '-1' && Number(soft) <= Number(hard));
}
