import { BlockList, isIP } from 'node:net';
import { KilnError } from '../model/error.ts';
import { canonicalHost, formatHostPort, type HostPort } from './host-port.ts';
import { type HostRule, parseHostRule } from './host-rule.ts';

/** A registry's mirror: what buildkitd is told, and where kiln leads that name. */
export type Mirror = {
  /** The registry as image references name it, such as `docker.io`. */
  readonly registry: string;
  /** Name and port that only kiln resolves: in a build, `127.0.0.1` is its own VM. */
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

/** What the operator says of destinations, beside the mirrors. */
export type EgressRules = {
  readonly allow: readonly HostRule[];
  readonly deny: readonly HostRule[];
  /** Empty where nothing is kept to a list. */
  readonly only: readonly HostRule[];
};

/**
 * Reads `KILN_EGRESS_ALLOW`, such as `10.0.0.5:443`, `registry.lan:5000`, `[::1]:80` and `10.1.0.0/16`, and `KILN_EGRESS_DENY` and
 * `KILN_EGRESS_ONLY`, such as `*.example.org` and `203.0.114.0/24:443`. @throws KilnError CONFIG_INVALID
 */
export function parseEgressRules(items: Readonly<Record<keyof EgressRules, readonly string[]>>): EgressRules {
  return {
    allow: items.allow.map((item) => {
      const rule = parseHostRule(item);
      // One host means one service on it; a pattern would open whatever a stranger's name server says.
      const narrow = rule && rule.kind !== 'below' && (rule.port !== null || item.includes('/'));
      if (!narrow)
        throw invalid(
          'KILN_EGRESS_ALLOW',
          `'${item}' is neither host:port nor a network, such as 10.0.0.0/8.`,
        );
      return rule;
    }),
    deny: items.deny.map((item) => parseHosts('KILN_EGRESS_DENY', item)),
    only: items.only.map((item) => parseHosts('KILN_EGRESS_ONLY', item)),
  };
}

function parseHosts(setting: string, item: string): HostRule {
  const rule = parseHostRule(item);
  const why = `'${item}' is neither a name, a pattern such as *.example.org, nor a network such as 10.0.0.0/8.`;
  if (!rule) throw invalid(setting, why);
  return rule;
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

/** Where a build would find its own VM. */
function isLoopback(host: string): boolean {
  const loopback = new BlockList();
  loopback.addSubnet('127.0.0.0', 8, 'ipv4');
  loopback.addAddress('::1', 'ipv6');
  return host === 'localhost' || loopback.check(host, isIP(host) === 6 ? 'ipv6' : 'ipv4');
}

function invalid(setting: string, why: string): KilnError {
  return new KilnError('CONFIG_INVALID', `${setting}: ${why}`);
}
