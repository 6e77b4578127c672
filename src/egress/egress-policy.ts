import { isIP } from 'node:net';
import { networkInterfaces } from 'node:os';
import { withDeadline } from '../lib/abort.ts';
import { createAddressPolicy } from './address-policy.ts';
import { formatHostPort, type HostPort } from './host-port.ts';
import { createDnsResolver, type Resolve, resolveLocally } from './resolve-host.ts';
import type { Mirror } from './settings.ts';

/** Where a guest's request may be sent: addresses that were checked, to be connected to as they are. */
export type Decision =
  | { readonly allowed: true; readonly addresses: readonly string[]; readonly port: number }
  | { readonly allowed: false; readonly status: 403 | 502 | 504; readonly message: string };

export type EgressPolicy = (destination: HostPort, signal: AbortSignal) => Promise<Decision>;

export type EgressPolicyOptions = {
  readonly allow: readonly HostPort[];
  readonly mirrors: readonly Mirror[];
  /** How names are resolved: those the operator set, and those a guest chooses. */
  readonly resolve?: { readonly set: Resolve; readonly chosen: Resolve };
  /** Addresses of this machine, the public ones too: what listens there is not for guests. */
  readonly ownAddresses?: () => readonly string[];
};

const lookupDeadlineMs = 10_000;

/**
 * Decides by resolved address, never by name: a public name may resolve to a private address. Whoever connects must use
 * the addresses returned and not look the name up again.
 */
export function createEgressPolicy(options: EgressPolicyOptions): EgressPolicy {
  const { allow, mirrors, ownAddresses = listOwnAddresses } = options;
  const { resolve = { set: resolveLocally, chosen: createDnsResolver() } } = options;
  const isPublic = createAddressPolicy();
  return async (destination, signal) => {
    const mirror = mirrors.find(({ alias }) => isSame(alias, destination));
    const target = mirror?.target ?? destination;
    const { host, port } = target;
    const opened = mirror !== undefined || allow.some((entry) => isSame(entry, target));
    const found = await findAddresses(host, opened ? resolve.set : resolve.chosen, signal);
    if (found === null) return unreachable(504, `The addresses of ${host} were not found in time.`);
    if (found.length === 0) return unreachable(502, `There is no host ${host}.`);
    const own = ownAddresses();
    const reachable = found.filter(
      (address) =>
        opened ||
        allow.some((entry) => isSame(entry, { host: address, port })) ||
        (isPublic(address) && !own.includes(address)),
    );
    return reachable.length === 0 ? closed(target) : { allowed: true, addresses: reachable, port };
  };
}

function closed(target: HostPort): Decision {
  const name = formatHostPort(target);
  return {
    allowed: false,
    status: 403,
    message: `${name} is not public, so builds may not reach it; whoever runs this build service can open it with KILN_EGRESS_ALLOW=${name}`,
  };
}

function unreachable(status: 502 | 504, message: string): Decision {
  return { allowed: false, status, message };
}

/** Null when the answer did not come. */
async function findAddresses(
  host: string,
  resolve: Resolve,
  signal: AbortSignal,
): Promise<readonly string[] | null> {
  if (isIP(host) !== 0) return [host];
  const reason = (): Error => new Error(`${host} was not resolved within ${lookupDeadlineMs} ms.`);
  try {
    return await withDeadline({ ms: lookupDeadlineMs, signal, reason }, (limited) => resolve(host, limited));
  } catch {
    signal.throwIfAborted();
    return null;
  }
}

function isSame(a: HostPort, b: HostPort): boolean {
  return a.host === b.host && a.port === b.port;
}

function listOwnAddresses(): string[] {
  return Object.values(networkInterfaces()).flatMap((addresses) =>
    (addresses ?? []).map(({ address }) => address),
  );
}
