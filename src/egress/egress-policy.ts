import { isIP } from 'node:net';
import { networkInterfaces } from 'node:os';
import { withDeadline } from '../lib/abort.ts';
import type { RefusalReason } from '../model/build.ts';
import { createAddressPolicy } from './address-policy.ts';
import { type HostRule, isAbout } from './host-rule.ts';
import { createDnsResolver, createLocalResolver, type Resolve } from './resolve-host.ts';
import type { EgressRules, Mirror } from './settings.ts';

/** Where a guest wants to go. Port null: it only asks what the name means. */
export type Wish = { readonly host: string; readonly port: number | null };

/** What becomes of it: addresses that were checked, to be connected to as they are and at this port, or why not. */
export type Decision =
  | { readonly allowed: true; readonly addresses: readonly string[]; readonly port: number | null }
  /** The address that was refused, where that was the reason. */
  | { readonly allowed: false; readonly reason: RefusalReason; readonly address: string | null };

export type EgressPolicy = (wish: Wish, signal: AbortSignal) => Promise<Decision>;

export type EgressPolicyOptions = EgressRules & {
  readonly mirrors: readonly Mirror[];
  /** How names are resolved: those the operator set, and those a guest chooses. */
  readonly resolve?: { readonly set: Resolve; readonly chosen: Resolve };
  /** Addresses of this machine, the public ones too: what listens there is not for guests. */
  readonly ownAddresses?: () => readonly string[];
};

/** In a build, the loopback of the machine that kiln runs on, as far as `allow` opens it. */
const hostName = 'host.kiln.internal';
const hostAddresses = ['127.0.0.1', '::1'];
const lookupDeadlineMs = 10_000;

/**
 * The one policy for every way out. It decides by resolved address: a public name may resolve to a private address. Whoever
 * connects must use the addresses returned and not look the name up again.
 *
 * In this order: mirrors are open; `deny` closes, whatever else opens; `allow` opens; `only` closes what it does not name;
 * of the rest, public addresses are open, but for this machine's own.
 */
export function createEgressPolicy(options: EgressPolicyOptions): EgressPolicy {
  const { mirrors, ownAddresses = listOwnAddresses } = options;
  const { resolve = { set: createLocalResolver(), chosen: createDnsResolver() } } = options;
  const isPublic = createAddressPolicy();
  return async ({ host, port }, signal) => {
    const mirror = mirrors.find(({ alias }) => alias.host === host && (port ?? alias.port) === alias.port);
    const rules = judge(options, port);
    if (!mirror && rules.isDenied(host)) return refused('denied');
    const named = mirror !== undefined || rules.mayOpen(host);
    // Before it is looked up: a name that is not on the list is not told to any name server.
    if (!named && host !== hostName && rules.isOutside(host) && !rules.onlyNamesNetworks)
      return refused('not-in-only');

    const found = await findAddresses(mirror?.target.host ?? host, named, resolve, signal);
    if (found === 'unresolved') return refused('name-unresolved');
    if (found === null) return refused('name-unknown');
    const own = ownAddresses();
    const whyNot = (address: string): RefusalReason | null => {
      if (mirror) return null;
      if (rules.isDenied(address)) return 'denied';
      if (named || rules.mayOpen(address)) return null;
      if (rules.isOutside(host) && rules.isOutside(address)) return 'not-in-only';
      return isPublic(address) && !own.includes(address) ? null : 'not-public';
    };
    const judged = found.map((address) => ({ address, reason: whyNot(address) }));
    const open = judged.filter(({ reason }) => reason === null).map(({ address }) => address);
    const [first] = judged;
    return first?.reason && open.length === 0
      ? { allowed: false, reason: first.reason, address: first.address }
      : { allowed: true, addresses: open, port: mirror?.target.port ?? port };
  };
}

/** The rules as they are for one port. Where that is not known yet, a rule for one port may open, but closes nothing. */
function judge({ allow, deny, only }: EgressRules, port: number | null) {
  const certainly = (rule: HostRule): boolean => rule.port === null || rule.port === port;
  const perhaps = (rule: HostRule): boolean => port === null || certainly(rule);
  return {
    isDenied: (host: string) => deny.some((rule) => certainly(rule) && isAbout(rule, host)),
    mayOpen: (host: string) => allow.some((rule) => perhaps(rule) && isAbout(rule, host)),
    isOutside: (host: string) =>
      only.length > 0 && !only.some((rule) => perhaps(rule) && isAbout(rule, host)),
    /** Then only the addresses of a name can tell. */
    onlyNamesNetworks: only.some(({ kind }) => kind === 'network'),
  };
}

function refused(reason: RefusalReason): Decision {
  return { allowed: false, reason, address: null };
}

async function findAddresses(
  host: string,
  set: boolean,
  resolve: NonNullable<EgressPolicyOptions['resolve']>,
  signal: AbortSignal,
): Promise<readonly string[] | null | 'unresolved'> {
  if (isIP(host) !== 0) return [host];
  if (host === hostName) return hostAddresses;
  if (host.endsWith('.kiln.internal')) return null;
  const reason = (): Error => new Error(`${host} was not resolved within ${lookupDeadlineMs} ms.`);
  try {
    const found = await withDeadline({ ms: lookupDeadlineMs, signal, reason }, (limited) =>
      (set ? resolve.set : resolve.chosen)(host, limited),
    );
    return found?.map(asConnectedTo) ?? null;
  } catch {
    signal.throwIfAborted();
    return 'unresolved';
  }
}

/** IPv4 within IPv6 (RFC 4291, 2.5.5.2) is connected to over IPv4, so the rules for IPv4 are about it. */
function asConnectedTo(address: string): string {
  const [, dotted] = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address) ?? [];
  if (dotted) return dotted;
  const [, high, low] = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/i.exec(address) ?? [];
  if (high === undefined || low === undefined) return address;
  return [high, low]
    .flatMap((part) => [Number.parseInt(part, 16) >> 8, Number.parseInt(part, 16) & 255])
    .join('.');
}

function listOwnAddresses(): string[] {
  return Object.values(networkInterfaces()).flatMap((addresses) =>
    (addresses ?? []).map(({ address }) => address),
  );
}
