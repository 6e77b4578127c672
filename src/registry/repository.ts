import { isLoopback } from '../lib/loopback.ts';
import { printable } from '../lib/text.ts';
import { KilnError } from '../model/error.ts';
import { parseImageReference } from '../model/image-reference.ts';

/** Where images are published: one name in one registry. */
export type Repository = {
  /** With its port, such as `registry.example.org:5000`. */
  readonly host: string;
  /** Such as `archive/kiln`. */
  readonly path: string;
  /** Whether it is spoken to without TLS. */
  readonly plainHttp: boolean;
};

/**
 * @param text Such as `registry.example.org/archive/kiln`, without a tag. What names no registry is on Docker Hub, as everywhere.
 * @param insecureHosts Registries beyond this machine that are spoken to over plain HTTP, with their ports.
 * @throws KilnError REF_INVALID
 */
export function parseRepository(text: string, insecureHosts: readonly string[] = []): Repository {
  const parsed = parseName(text);
  if (!parsed) {
    throw new KilnError(
      'REF_INVALID',
      `'${printable(text)}' is no repository; write it as registry.example.org/archive/kiln, without a tag.`,
    );
  }
  const { domain, path } = parsed;
  const plainHttp = isLoopback(domain.replace(/:\d+$/, '')) || insecureHosts.includes(domain);
  return { host: domain, path, plainHttp };
}

export function nameOf({ host, path }: Repository): string {
  return `${host}/${path}`;
}

function parseName(text: string): { domain: string; path: string } | null {
  const { type, domain, repository: path } = parseImageReference(text) ?? {};
  return type === 'repository' && domain && path ? { domain, path } : null;
}
