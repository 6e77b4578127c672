import { BlockList, isIP } from 'node:net';
import { KilnError } from '../model/error.ts';
import { canonicalHost, formatHostPort, type HostPort, parseHostPort } from './host-port.ts';

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
 * Reads the items of `KILN_REGISTRY_MIRRORS`, such as `docker.io=http://127.0.0.1:5000` and `quay.io=https://mirror.example`.
 * A mirror with TLS keeps its own name, which its certificate is for.
 * @throws KilnError CONFIG_INVALID
 */
export function parseRegistryMirrors(items: readonly string[]): Mirror[] {
  return items.map((item, index) => {
    const separator = item.indexOf('=');
    const registry = item.slice(0, separator);
    const url = parseMirrorUrl(item.slice(separator + 1));
    if (!url || !/^[a-z0-9][a-z0-9.-]*(:\d+)?$/i.test(registry)) {
      throw invalid('KILN_REGISTRY_MIRRORS', `'${item}' is not of the form registry=http://host:port.`);
    }
    const { target, tls, path } = url;
    if (tls && isLoopback(target.host)) {
      const why =
        'builds cannot reach a mirror with TLS on loopback; use http:// or the name of this machine.';
      throw invalid('KILN_REGISTRY_MIRRORS', `'${item}': ${why}`);
    }
    // Port 80 whatever the target's is: templates hold the name, and outlive a mirror's move.
    const alias = tls ? target : { host: `mirror-${index}.kiln.internal`, port: 80 };
    return { registry, alias, target, tls, path };
  });
}

/** Reads the items of `KILN_EGRESS_ALLOW`, such as `10.0.0.5:443`, `registry.lan:5000` and `[::1]:80`. @throws KilnError CONFIG_INVALID */
export function parseEgressAllow(items: readonly string[]): HostPort[] {
  return items.map((item) => {
    const parsed = parseHostPort(item);
    if (!parsed) throw invalid('KILN_EGRESS_ALLOW', `'${item}' is not of the form host:port.`);
    return parsed;
  });
}

/** The lines of buildkitd.toml that send image pulls to the mirrors. */
export function registryConfig(mirrors: readonly Mirror[]): string {
  const registries = Map.groupBy(mirrors, (mirror) => mirror.registry);
  const sections = [...registries].map(([registry, group]) => {
    const names = group.map((mirror) => JSON.stringify(mirrorName(mirror))).join(', ');
    return `[registry."${registry}"]\n  mirrors = [${names}]\n`;
  });
  const plain = mirrors.filter(({ tls }) => !tls);
  const insecure = plain.map(({ alias }) => `[registry."${formatHostPort(alias)}"]\n  http = true\n`);
  return [...sections, ...insecure].join('\n');
}

function parseMirrorUrl(text: string): Pick<Mirror, 'target' | 'tls' | 'path'> | null {
  const url = URL.parse(text);
  const host = canonicalHost(url?.hostname ?? '');
  if (!url || host === null || !/^https?:$/.test(url.protocol)) return null;
  if (url.username + url.password + url.search + url.hash !== '' || url.port === '0') return null;
  const tls = url.protocol === 'https:';
  const port = url.port === '' ? (tls ? 443 : 80) : Number(url.port);
  return { target: { host, port }, tls, path: url.pathname.replace(/^\/+|\/+$/g, '') };
}

function mirrorName({ alias, tls, path }: Mirror): string {
  const host = tls && alias.port === 443 ? alias.host : formatHostPort(alias);
  return path === '' ? host : `${host}/${path}`;
}

/** Where Go's clients do not ask the proxy. */
function isLoopback(host: string): boolean {
  const loopback = new BlockList();
  loopback.addSubnet('127.0.0.0', 8, 'ipv4');
  loopback.addAddress('::1', 'ipv6');
  return host === 'localhost' || loopback.check(host, isIP(host) === 6 ? 'ipv6' : 'ipv4');
}

function invalid(setting: string, why: string): KilnError {
  return new KilnError('CONFIG_INVALID', `${setting}: ${why}`);
}
