import { createHash } from 'node:crypto';
import type { BuildRecord } from '../model/build.ts';
import type { BuildRequest, CheckedRequest } from '../model/builds.ts';
import { KilnError } from '../model/error.ts';
import type { BuildStore, Claim } from '../store/build-store.ts';
import type { SealedRequest } from './check-request.ts';

/** How long an Idempotency-Key is remembered, in ms. */
const rememberedMs = 24 * 3600 * 1000;

/** What a request claims with its key; null where it has none. */
export function claimOf(
  {
    spec,
    entries,
    idempotencyKey,
  }: Pick<BuildRequest, 'spec' | 'idempotencyKey'> & Pick<CheckedRequest, 'entries'>,
  { context, sources, dockerfile, secrets }: SealedRequest,
  tenant: string,
): Claim | null {
  if (idempotencyKey === undefined) return null;
  const now = Date.now();
  const asked = {
    // Of secrets the names: a hash of a value would help to guess it, and a token may be another when the request is sent again.
    ...{ spec, entries, sources, secrets: secrets.names },
    context: context?.summary?.digest,
    named: context && Object.fromEntries(context.named.map(({ name, summary }) => [name, summary.digest])),
    dockerfile: dockerfile?.toString('base64'),
  };
  return {
    ...{ tenant, key: idempotencyKey, hash: createHash('sha256').update(canonical(asked)).digest('hex') },
    at: new Date(now).toISOString(),
    since: new Date(now - rememberedMs).toISOString(),
  };
}

/**
 * The builds that a request with this key began before; null where none did.
 * @throws KilnError IDEMPOTENCY_KEY_REUSED where that request asked for something else
 */
export async function findClaimed(claim: Claim, store: BuildStore): Promise<BuildRecord[] | null> {
  const earlier = await store.findClaimed(claim);
  if (!earlier) return null;
  if (earlier.hash === claim.hash) return earlier.builds;
  const message =
    'This Idempotency-Key was sent with another build in the last 24 hours; send each build with a key of its own.';
  throw new KilnError('IDEMPOTENCY_KEY_REUSED', message);
}

/** JSON that does not depend on the order in which names were given. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_name, part: unknown) =>
    part !== null && typeof part === 'object' && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );
}
