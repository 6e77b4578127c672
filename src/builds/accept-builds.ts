import { v7 as uuid } from 'uuid';
import { shareContext } from '../context/share-context.ts';
import type { WarmVm } from '../guest/warm-vm.ts';
import { type BuildRecord, type EntrySummary, phases } from '../model/build.ts';
import type { Lease } from '../pool/pool.ts';
import type { Scheduler } from '../scheduler/scheduler.ts';
import type { AcceptedBuild } from './accepted-build.ts';
import type { SealedRequest } from './check-request.ts';
import { Journal, type JournalOptions } from './journal.ts';
import { requestFor } from './request-vm.ts';

/** A request that was checked, with what all builds of it have in common. */
export type AcceptedRequest = SealedRequest & Pick<BuildRecord, 'tenant' | 'matrix'>;

/** A build that is in the store: it owns its context, its files and its VM. */
export type BegunBuild = AcceptedBuild & {
  readonly cancel: AbortController;
  /** Aborts when it is cancelled, or the service ends its builds. */
  readonly signal: AbortSignal;
};

/**
 * Begins a build by each of the entries: all of them or, where one cannot be had, none. Owns the context from the call on.
 * @throws KilnError NO_CAPACITY, STORAGE_FULL
 */
export async function acceptBuilds(
  request: AcceptedRequest,
  entries: readonly EntrySummary[],
  options: JournalOptions & { readonly scheduler: Pick<Scheduler<WarmVm>, 'enter'> },
  stopping: AbortSignal,
): Promise<BegunBuild[]> {
  await using undo = new AsyncDisposableStack();
  const contexts = request.context ? shareContext(request.context, entries.length) : [];
  for (const context of contexts) undo.use(context);
  const builds: BegunBuild[] = [];
  for (const [index, entry] of entries.entries()) {
    const journal = await Journal.open(newRecord(request, entry), options);
    undo.defer(() => journal.discard());
    const cancel = new AbortController();
    const signal = AbortSignal.any([cancel.signal, stopping]);
    const lease = options.scheduler.enter(requestFor(journal, signal));
    // It may be refused while nobody waits for it yet.
    lease.catch(() => undefined);
    undo.defer(() => leave(lease, cancel));
    const { dockerfile, sources } = request;
    const context = contexts[index] ?? null;
    builds.push({ journal, context, sources, dockerfile, lease, cancel, signal });
  }
  // Last: a build that is in the store has all its files.
  await options.store.insert(...builds.map(({ journal }) => journal.record));
  undo.move();
  return builds;
}

/** Gives a VM back that came already, and waits no longer for one that did not. */
async function leave(coming: Promise<Lease<WarmVm>>, cancel: AbortController): Promise<void> {
  cancel.abort();
  try {
    await using _lease = await coming;
  } catch {
    // It never came.
  }
}

function newRecord(
  { spec, context, namedContexts, warnings, tenant, matrix }: AcceptedRequest,
  entry: EntrySummary,
): BuildRecord {
  const never = Object.fromEntries(phases.map((phase) => [phase, null])) as Record<
    (typeof phases)[number],
    null
  >;
  return {
    id: uuid(),
    tenant,
    matrix,
    state: 'queued',
    // Of several, each says its own.
    spec: matrix === null ? spec : { ...spec, entry: entry.name },
    verdict: null,
    times: { ...never, queued: new Date().toISOString() },
    vm: null,
    attempts: [],
    entry,
    context: context?.summary ?? null,
    namedContexts,
    imageDigest: null,
    artifact: null,
    egress: [],
    warnings,
  };
}
