import { lookup, Resolver } from 'node:dns/promises';

/**
 * Addresses of a name, in the order to try them, none where it has none; null where there is no such name. Rejects when the
 * answer is not known.
 */
export type Resolve = (host: string, signal: AbortSignal) => Promise<readonly string[] | null>;

/**
 * For names the operator set: as this machine resolves them, /etc/hosts included. Each takes one of the process's few threads for as
 * long as it lasts, so who asks for a name that is being looked up shares the answer.
 */
export function createLocalResolver(): Resolve {
  const underWay = new Map<string, Promise<readonly string[] | null>>();
  return (host) => {
    const known = underWay.get(host);
    if (known) return known;
    const answer = orNothing(lookup(host, { all: true }))
      .then((found) => found?.map(({ address }) => address) ?? null)
      .finally(() => underWay.delete(host));
    underWay.set(host, answer);
    return answer;
  };
}

/**
 * For names a guest chooses: by DNS alone. A lookup as above keeps one of the process's few threads, which also write the
 * logs, for as long as the guest's own name server likes.
 * @param servers `address:port` of the name servers; those of this machine where there are none given.
 */
export function createDnsResolver(servers?: readonly string[]): Resolve {
  return async (host, signal) => {
    const resolver = new Resolver({ timeout: 2000, tries: 2 });
    if (servers) resolver.setServers(servers);
    const cancel = (): void => resolver.cancel();
    signal.addEventListener('abort', cancel, { once: true });
    try {
      return joinAnswers(
        await Promise.allSettled([orNothing(resolver.resolve4(host)), orNothing(resolver.resolve6(host))]),
      );
    } finally {
      signal.removeEventListener('abort', cancel);
    }
  };
}

/** Half an answer is one: a name server that is silent about IPv6 is no rarity. */
function joinAnswers(answers: readonly PromiseSettledResult<string[] | null>[]): string[] | null {
  const told = answers.flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value] : []));
  const found = told.flatMap((addresses) => addresses ?? []);
  const failed = answers.find((answer) => answer.status === 'rejected');
  if (found.length === 0 && failed) throw failed.reason;
  return told.every((addresses) => addresses === null) ? null : found;
}

/** An empty list where the name has nothing of the kind, null where there is no such name. */
async function orNothing<T>(answer: Promise<T[]>): Promise<T[] | null> {
  try {
    return await answer;
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'ENODATA') return [];
    if (code === 'ENOTFOUND' || code === 'EBADNAME') return null;
    throw error;
  }
}
