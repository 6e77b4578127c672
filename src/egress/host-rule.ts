import { BlockList, isIP, isIPv6 } from 'node:net';
import { canonicalHost } from './host-port.ts';

/** What a setting says of destinations: a name, all names below one, or a network; at one port, or at all where it is null. */
export type HostRule = { readonly port: number | null } & (
  | { readonly kind: 'name'; readonly name: string }
  /** `suffix` begins with a dot: `.example.org` stands for every name below example.org, not for itself. */
  | { readonly kind: 'below'; readonly suffix: string }
  | { readonly kind: 'network'; readonly family: 4 | 6; readonly addresses: BlockList }
);

/** `name`, `*.name`, an address or a network (`10.0.0.0/8`, `fd00::/8`), each with `:port` or without; null for anything else. */
export function parseHostRule(text: string): HostRule | null {
  const { host, digits } = splitPort(text);
  const port = digits === null ? null : Number(digits);
  if (port !== null && (port < 1 || port > 65535)) return null;
  if (host.startsWith('*.')) {
    const name = canonicalHost(host.slice(2));
    return name === null || isIP(name) !== 0 ? null : { kind: 'below', suffix: `.${name}`, port };
  }
  const [address = '', prefix, ...more] = host.split('/');
  const name = canonicalHost(address);
  if (name === null || more.length > 0) return null;
  if (isIP(name) === 0) return prefix === undefined ? { kind: 'name', name, port } : null;
  const addresses = parseNetwork(name, prefix);
  return addresses && { kind: 'network', family: isIPv6(name) ? 6 : 4, addresses, port };
}

/** Whether a rule is about a host, as it is asked for or as an address of it, whatever the port. */
export function isAbout(rule: HostRule, host: string): boolean {
  switch (rule.kind) {
    case 'name':
      return rule.name === host;
    case 'below':
      return host.endsWith(rule.suffix);
    case 'network': {
      // A list of IPv6 would also be asked for ::ffff:a.b.c.d.
      return isIP(host) === rule.family && rule.addresses.check(host, `ipv${rule.family}`);
    }
  }
}

function splitPort(text: string): { host: string; digits: string | null } {
  const [, bracketed, bracketedPort] = /^\[([^\]]*)\](?::(\d{1,5}))?$/.exec(text) ?? [];
  if (bracketed !== undefined) return { host: bracketed, digits: bracketedPort ?? null };
  // More than one colon: IPv6 without brackets, so without a port.
  const [, host = text, digits = null] = /^([^:]*):(\d{1,5})$/.exec(text) ?? [];
  return { host, digits };
}

function parseNetwork(address: string, prefix: string | undefined): BlockList | null {
  const version = isIP(address);
  const bits = version === 4 ? 32 : 128;
  const length = prefix === undefined ? bits : /^\d{1,3}$/.test(prefix) ? Number(prefix) : Number.NaN;
  if (!(length >= 0 && length <= bits)) return null;
  const list = new BlockList();
  list.addSubnet(address, length, version === 4 ? 'ipv4' : 'ipv6');
  return list;
}
