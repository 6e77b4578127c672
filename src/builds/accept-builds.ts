import { v7 as uuid } from 'uuid';
import type { WarmVm } from '../guest/warm-vm.ts';
import { syncFolder } from '../lib/files.ts';
import { type BuildRecord, type EntrySummary, phases } from '../model/build.ts';
import type { RequestOrigin } from '../model/request-origin.ts';
import type { Lease } from '../pool/pool.ts';
import type { Scheduler } from '../scheduler/scheduler.ts';
import type { Claim } from '../store/build-store.ts';
import type { AcceptedBuild } from './accepted-build.ts';
import { keepInput } from './build-input.ts';
import type { SealedRequest } from './check-request.ts';
import { Journal, type JournalOptions } from './journal.ts';
import { requestFor } from './request-vm.ts';

/** A request that was checked, with what all builds of it have in common. */
export type AcceptedRequest = SealedRequest & Pick<BuildRecord, 'tenant' | 'matrix' | keyof RequestOrigin>;

/** A build that is in the store: it owns its files and its VM. */
export type BegunBuild = AcceptedBuild & {
  readonly cancel: AbortController;
  /** Aborts when it is cancelled, or the service ends its builds. */
  readonly signal: AbortSignal;
};

/**
 * Begins a build by each of the entries: all of them or, where one cannot be had, none. What they were asked is on the disk, and they are
 * in the store and in the line, when this resolves. Owns the context from the call on.
 * @returns null where another request has the same claim
 * @throws KilnError NO_CAPACITY, STORAGE_FULL
 */
export async function acceptBuilds(
  request: AcceptedRequest,
  entries: readonly EntrySummary[],
  options: JournalOptions & { readonly scheduler: Pick<Scheduler<WarmVm>, 'enter'> },
  { claim, stopping }: { claim: Claim | null; stopping: AbortSignal },
): Promise<BegunBuild[] | null> {
  await using undo = new AsyncDisposableStack();
  // Each build has a name of its own of the image.
  await using _context = request.context;
  const journals: Journal[] = [];
  for (const entry of entries) {
    const journal = await Journal.open(newRecord(request, entry), options);
    undo.defer(() => journal.discard());
    await keepInput(journal.directory, request);
    journals.push(journal);
  }
  await syncFolder(options.buildsDirectory);
  const builds: BegunBuild[] = [];
  for (const journal of journals) {
    const cancel = new AbortController();
    const signal = AbortSignal.any([cancel.signal, stopping]);
    const lease = options.scheduler.enter(requestFor(journal, signal));
    // It may be refused while nobody waits for it yet.
    lease.catch(() => undefined);
    undo.defer(() => leave(lease, cancel));
    builds.push({ journal, secrets: request.secrets, lease, cancel, signal });
  }
  // Last, and with nothing between: a build that is in the store has all its files, and the store has them in the order of the line.
  const records = journals.map(({ record }) => record);
  if (!claim) await options.store.insert(...records);
  else if (!(await options.store.insertClaimed(claim, records))) return null;
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
  { spec, secrets, context, namedContexts, warnings, tenant, matrix, ...origin }: AcceptedRequest,
  entry: EntrySummary,
): BuildRecord {
  const never = Object.fromEntries(phases.map((phase) => [phase, null])) as Record<
    (typeof phases)[number],
    null
  >;
  return {
    id: uuid(),
    ...{ requestId: origin.requestId, traceparent: origin.traceparent },
    tenant,
    matrix,
    state: 'queued',
    // Of several, each says its own.
    spec: matrix === null ? spec : { ...spec, entry: entry.name },
    secrets: secrets.names,
    verdict: null,
    times: { ...never, queued: new Date().toISOString() },
    vm: null,
    attempts: [],
    entry,
    context: context?.summary ?? null,
    namedContexts,
    imageDigest: null,
    artifact: null,
    pushBegun: false,
    pushed: [],
    egress: [],
    warnings,
  };
}
