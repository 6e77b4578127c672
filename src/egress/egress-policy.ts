import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { withDeadline } from '../lib/abort.ts';
import { createAddressPolicy } from './address-policy.ts';
import { type HostPort, type Mirror, normalizeHost } from './settings.ts';

/** Where a guest's request may be sent: addresses that were checked, to be connected to as they are. */
export type Decision =
  | { readonly allowed: true; readonly addresses: readonly string[]; readonly port: number }
  | { readonly allowed: false; readonly status: 403 | 502; readonly message: string };

export type EgressPolicy = (destination: HostPort, signal: AbortSignal) => Promise<Decision>;

export type Resolve = (host: string) => Promise<readonly string[]>;

const lookupDeadlineMs = 10_000;

/**
 * Decides by resolved address, never by name: a public name may resolve to a private address. Whoever connects must use
 * the addresses returned and not look the name up again.
 */
export function createEgressPolicy(options: {
  allow: readonly HostPort[];
  mirrors: readonly Mirror[];
  resolve?: Resolve;
}): EgressPolicy {
  const { allow, mirrors, resolve = resolveHost } = options;
  const isPublic = createAddressPolicy();
  return async (destination, signal) => {
    const host = normalizeHost(destination.host);
    const mirror = mirrors.find(({ alias }) => isSame(alias, { host, port: destination.port }));
    const target = mirror?.target ?? { host, port: destination.port };
    const opened = mirror !== undefined || allow.some((entry) => isSame(entry, target));
    const addresses = await findAddresses(target.host, resolve, signal);
    if (addresses.length === 0) return { allowed: false, status: 502, message: `There is no host ${host}.` };
    const reachable = opened ? addresses : addresses.filter(isPublic);
    if (reachable.length > 0) return { allowed: true, addresses: reachable, port: target.port };
    const setting = `KILN_EGRESS_ALLOW=${host}:${target.port}`;
    const message = `${host} is not a public address. Whoever runs this build service can open it: ${setting}`;
    return { allowed: false, status: 403, message };
  };
}

function isSame(a: HostPort, b: HostPort): boolean {
  return normalizeHost(a.host) === b.host && a.port === b.port;
}

async function findAddresses(
  host: string,
  resolve: Resolve,
  signal: AbortSignal,
): Promise<readonly string[]> {
  if (isIP(host) !== 0) return [host];
  const reason = (): Error => new Error(`${host} was not resolved within ${lookupDeadlineMs} ms.`);
  try {
    return await withDeadline({ ms: lookupDeadlineMs, signal, reason }, () => resolve(host));
  } catch {
    signal.throwIfAborted();
    return [];
  }
}

async function resolveHost(host: string): Promise<readonly string[]> {
  const found = await lookup(host, { all: true });
  return found.map(({ address }) => address);
}
