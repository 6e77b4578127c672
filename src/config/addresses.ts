import { once } from 'node:events';
import { createServer } from 'node:net';
import { isLoopback } from '../lib/loopback.ts';
import { KilnError } from '../model/error.ts';
import { type Config, splitAddress } from './config.ts';

const settings = ['KILN_LISTEN', 'KILN_GRPC_LISTEN'] as const;
type Addresses = Pick<Config, (typeof settings)[number]>;

/** Those that other machines may reach, as `KILN_LISTEN=0.0.0.0:8080`. */
export function listPublicAddresses(config: Addresses): string[] {
  return settings.flatMap((name) =>
    isLoopback(splitAddress(config[name]).host) ? [] : [`${name}=${config[name]}`],
  );
}

/** What an operator must know of addresses that are served without TLS. */
export function describeUnsafe(addresses: readonly string[]): string {
  return `${addresses.join(' and ')} without TLS: tokens from other machines are refused until KILN_TLS_CERT and KILN_TLS_KEY are set, or KILN_TLS_ENDED_BY_PROXY=true where a proxy ends TLS.`;
}

/** Without tokens nobody but this machine may be served; whoever comes through a proxy on it looks as this machine does. @throws KilnError CONFIG_INVALID */
export function refuseStrangers(config: Addresses & Pick<Config, 'KILN_TLS_ENDED_BY_PROXY'>): void {
  const ways = listPublicAddresses(config);
  if (config.KILN_TLS_ENDED_BY_PROXY) ways.push('KILN_TLS_ENDED_BY_PROXY=true');
  if (ways.length === 0) return;
  throw new KilnError(
    'CONFIG_INVALID',
    `${ways.join(' and ')} would let anyone who reaches this machine run builds, as there are no tokens. Make one with npm run kiln -- token create --role build, or listen on 127.0.0.1 with no proxy before it.`,
  );
}

/**
 * Listens and stops listening: an address that cannot be had is told at once, and not after a first set-up, which takes minutes.
 * @throws KilnError CONFIG_INVALID
 */
export async function refuseTakenAddresses(config: Addresses): Promise<void> {
  for (const setting of settings) await refuseTaken(setting, config[setting]);
}

async function refuseTaken(setting: string, text: string): Promise<void> {
  const { host, port } = splitAddress(text);
  await using server = createServer();
  try {
    await once(server.listen(port, host), 'listening');
  } catch (error) {
    const taken = error instanceof Error && 'code' in error && error.code === 'EADDRINUSE';
    const why = taken
      ? 'another program listens there (another kiln?)'
      : error instanceof Error
        ? error.message
        : '';
    throw new KilnError(
      'CONFIG_INVALID',
      `Cannot listen on ${text}: ${why}. Set ${setting} to another address.`,
      {
        cause: error,
      },
    );
  }
}
