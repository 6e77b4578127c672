import { isIPv6 } from 'node:net';

/** The host in its one spelling, `canonicalHost`: what is compared, resolved and recorded. */
export type HostPort = { readonly host: string; readonly port: number };

/** The longest name DNS has. */
const maxHostLength = 253;

/** `host:port` or `[v6]:port`; null for anything else. */
export function parseHostPort(text: string): HostPort | null {
  const [, name, digits] = /^(\[[^\]]*\]|[^:]*):(\d{1,5})$/.exec(text) ?? [];
  const host = canonicalHost(name ?? '');
  const port = Number(digits);
  return host === null || port < 1 || port > 65535 ? null : { host, port };
}

/**
 * One spelling for each host: names in lower case without a last dot, IPv4 in four decimals (`0x7f.1` is 127.0.0.1), IPv6
 * shortened and without brackets. Null for what names no host.
 */
export function canonicalHost(text: string): string | null {
  const bracketed = isIPv6(text) ? `[${text}]` : text;
  if (!/^([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])$/.test(bracketed)) return null;
  const hostname = URL.parse(`http://${bracketed}/`)?.hostname ?? '';
  const host = hostname.replace(/^\[|\]$|\.$/g, '');
  return host === '' || host.endsWith('.') || host.length > maxHostLength ? null : host;
}

export function formatHostPort({ host, port }: HostPort): string {
  return isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`;
}
