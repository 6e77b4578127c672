import { KilnError } from '../model/error.ts';

export type HostPort = { readonly host: string; readonly port: number };

/** A registry's mirror: what buildkitd is told, and where the proxy leads that name. */
export type Mirror = {
  /** The registry as image references name it, such as `docker.io`. */
  readonly registry: string;
  /** Name and port that only the proxy resolves: Go's clients would not send `127.0.0.1` to a proxy. */
  readonly alias: HostPort;
  readonly target: HostPort;
  readonly tls: boolean;
  /** Path below the mirror's host, without slashes at its ends; may be empty. */
  readonly path: string;
};

/**
 * Reads `KILN_REGISTRY_MIRRORS`: `docker.io=http://127.0.0.1:5000,quay.io=https://mirror.example`.
 * A mirror with TLS keeps its own name, which its certificate is for.
 * @throws KilnError CONFIG_INVALID
 */
export function parseRegistryMirrors(text: string): Mirror[] {
  return splitList(text).map((item, index) => {
    const separator = item.indexOf('=');
    const registry = item.slice(0, separator);
    const url = URL.parse(item.slice(separator + 1));
    const valid =
      separator > 0 && /^[a-z0-9.-]+(:\d+)?$/i.test(registry) && url && /^https?:$/.test(url.protocol);
    if (!valid || url.username !== '' || url.search !== '') {
      throw invalid('KILN_REGISTRY_MIRRORS', item, 'registry=http://host:port');
    }
    const tls = url.protocol === 'https:';
    const port = url.port === '' ? (tls ? 443 : 80) : Number(url.port);
    const target = { host: stripBrackets(url.hostname), port };
    // Port 80 whatever the target's is: templates hold the name, and outlive a mirror's move.
    const alias = tls ? target : { host: `mirror-${index}.kiln.internal`, port: 80 };
    return { registry, alias, target, tls, path: url.pathname.replace(/^\/+|\/+$/g, '') };
  });
}

/** Reads `KILN_EGRESS_ALLOW`: `10.0.0.5:443,registry.lan:5000,[::1]:80`. @throws KilnError CONFIG_INVALID */
export function parseEgressAllow(text: string): HostPort[] {
  return splitList(text).map((item) => {
    const parsed = parseHostPort(item);
    if (!parsed) throw invalid('KILN_EGRESS_ALLOW', item, 'host:port');
    return parsed;
  });
}

/** `host:port` or `[v6]:port`; null for anything else. The host comes back in lower case, without a last dot. */
export function parseHostPort(text: string): HostPort | null {
  const [, bracketed, plain, digits] =
    /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9_.-]+)):(\d{1,5})$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  const port = Number(digits);
  if (host === undefined || port < 1 || port > 65535) return null;
  return { host: normalizeHost(host), port };
}

export function normalizeHost(host: string): string {
  return stripBrackets(host).toLowerCase().replace(/\.$/, '');
}

/** The lines of buildkitd.toml that send image pulls to the mirrors. */
export function registryConfig(mirrors: readonly Mirror[]): string {
  const registries = Map.groupBy(mirrors, (mirror) => mirror.registry);
  const sections = [...registries].map(([registry, group]) => {
    const names = group.map((mirror) => JSON.stringify(mirrorName(mirror))).join(', ');
    return `[registry."${registry}"]\n  mirrors = [${names}]\n`;
  });
  const plain = mirrors.filter(({ tls }) => !tls);
  const insecure = plain.map(({ alias }) => `[registry."${alias.host}:${alias.port}"]\n  http = true\n`);
  return [...sections, ...insecure].join('\n');
}

function mirrorName({ alias, tls, path }: Mirror): string {
  const host = tls && alias.port === 443 ? alias.host : `${alias.host}:${alias.port}`;
  return path === '' ? host : `${host}/${path}`;
}

function stripBrackets(host: string): string {
  return host.startsWith('[') ? host.slice(1, -1) : host;
}

function splitList(text: string): string[] {
  return text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '');
}

function invalid(setting: string, item: string, shape: string): KilnError {
  return new KilnError('CONFIG_INVALID', `${setting}: '${item}' is not of the form ${shape}.`);
}
