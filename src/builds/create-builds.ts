import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { validate as isUuid, v7 as uuid } from 'uuid';
import { Decoders } from '../context/compression/decoders.ts';
import { openStaging } from '../context/context-staging.ts';
import { SharedMemory } from '../context/memory-budget.ts';
import type { Fleet } from '../fleet/fleet.ts';
import type { WarmVm } from '../guest/warm-vm.ts';
import { type Logger, withFields } from '../lib/logger.ts';
import { type BuildFiles, openBuildEvents, openBuildFiles } from '../logs/build-files.ts';
import { logOfAttempt, readBuildEvents, watchBuildFiles } from '../logs/watch-files.ts';
import { type BuildRecord, isTerminal } from '../model/build.ts';
import type { BuildRequest, Builds, CheckedRequest, Readiness } from '../model/builds.ts';
import { type Caller, requireRole } from '../model/caller.ts';
import type { ContextLimits, DockerfilePolicy } from '../model/context.ts';
import { KilnError } from '../model/error.ts';
import { orGone, readOrGone } from '../model/gone.ts';
import { keptFormat } from '../model/output.ts';
import { unknownOrigin } from '../model/request-origin.ts';
import { waitForCancelled } from '../model/wait-for-cancelled.ts';
import type { Scheduler } from '../scheduler/scheduler.ts';
import { acceptBuilds, type BegunBuild } from './accept-builds.ts';
import type { RunDependencies } from './accepted-build.ts';
import { attendBuild } from './attend-build.ts';
import { checkEntries, checkWithoutContext, type RequestRules, sealRequest } from './check-request.ts';
import { claimOf, findClaimed } from './claim-builds.ts';
import { createMatrixDescription } from './describe-matrix.ts';
import type { Journal, JournalOptions } from './journal.ts';
import { Receptions } from './receptions.ts';
import type { LeftBuild } from './recover-builds.ts';
import { resumeBuilds } from './resume-builds.ts';
import type { Retention } from './retention.ts';
import { runBuild } from './run-build.ts';

export type BuildsOptions = Omit<RunDependencies, 'stopping'> &
  JournalOptions & {
    readonly scheduler: Scheduler<WarmVm>;
    readonly retention: Pick<Retention, 'makeRoom' | 'ended'>;
    readonly stagingDirectory: string;
    readonly minFreeBytes: number;
    readonly fleet: Pick<Fleet, 'find' | 'summary' | 'list'>;
    readonly limits: ContextLimits & { readonly maxUploadBytes: number };
    readonly policy: DockerfilePolicy;
    /** Whether all builds use BuildKit's own frontend. */
    readonly builtinFrontend: boolean;
    readonly readiness: (draining: boolean) => Readiness;
    readonly logger: Logger;
  };

type ActiveBuild = {
  readonly journal: Journal;
  readonly cancel: AbortController;
  /** Resolves, never rejects, when the build is terminal and its VM is gone. */
  readonly done: Promise<void>;
};

/** JSON of the records in one page, beyond its first. */
const maxPageBytes = 4 * 1024 * 1024;

export type RunningBuilds = Builds & {
  /** Goes on with what an earlier run of the service left, in this order. Before any other build. */
  resume(left: readonly LeftBuild[]): Promise<void>;
  /** Refuses new builds, leaves those that wait to the next start; resolves when the running ones have ended. */
  drain(): Promise<void>;
  /** Ends the running builds: those that may be run again are left to the next start, too. */
  abort(): void;
};

export function createBuilds(options: BuildsOptions): RunningBuilds {
  const { store, scheduler, fleet, artifacts, retention, buildsDirectory, logger } = options;
  const { policy, builtinFrontend } = options;
  const rules: RequestRules = {
    ...{ policy, builtinFrontend, maxTimeoutSeconds: options.timeouts.maxSeconds },
    findEntry: (asked) => fleet.find(asked),
  };
  const active = new Map<string, ActiveBuild>();
  const stopping = new AbortController();
  /** Builds that are being accepted: they have no end to wait for yet. */
  const starting = new Set<Promise<unknown>>();
  const shared = {
    memory: SharedMemory.forArchivesOf(options.limits.maxEntries),
    decoders: new Decoders(),
  };
  const receptions = new Receptions();
  let draining = false;

  const filesOf = async (caller: Pick<Caller, 'tenant'>, id: string): Promise<BuildFiles> => {
    await getRecord(caller, id);
    const running = active.get(id);
    if (running) return running.journal.files;
    return orGone(id, openBuildFiles(join(buildsDirectory, id)));
  };
  const getRecord = async (caller: Pick<Caller, 'tenant'>, id: string): Promise<BuildRecord> => {
    // An id becomes part of a path: only what we made ourselves is looked for.
    if (!isUuid(id)) throw noSuchBuild();
    const record = active.get(id)?.journal.record ?? (await store.get(id));
    // In the same words: that there is one is already too much to tell.
    if (record.tenant !== caller.tenant) throw noSuchBuild();
    return record;
  };

  /** From their records on, the builds own their contexts, files and VMs; until then they are given back on failure. */
  const accept = async (
    caller: Caller,
    request: BuildRequest & Pick<CheckedRequest, 'entries'>,
    matrix: string | null,
  ): Promise<BuildRecord[]> => {
    await using undo = new AsyncDisposableStack();
    undo.use(request.context);
    requireRole(caller, 'build');
    const { entries } = request;
    if (entries) checkEntries(entries, rules);
    const asked = entries ?? [request.spec.entry];
    const summaries = await Promise.all(asked.map((entry) => fleet.summary(entry)));
    await retention.makeRoom();
    const { tenant } = caller;
    const sealed = {
      ...(await sealRequest(request, rules)),
      ...(request.origin ?? unknownOrigin),
      tenant,
      matrix,
    };
    undo.move();
    await using _contexts = sealed.context;
    const claim = claimOf(request, sealed, tenant);
    const earlier = claim && (await findClaimed(claim, store));
    if (earlier) return earlier.map(asItIs);
    const begun = await acceptBuilds(sealed, summaries, options, { claim, stopping: stopping.signal });
    if (!begun) return ((claim && (await findClaimed(claim, store))) ?? []).map(asItIs);
    for (const build of begun) run(build);
    return begun.map(({ journal }) => journal.record);
  };
  const asItIs = (record: BuildRecord): BuildRecord => active.get(record.id)?.journal.record ?? record;
  const run = ({ cancel, signal, ...build }: BegunBuild): void => {
    const { journal } = build;
    const { id, requestId } = journal.record;
    const log = withFields(logger, { requestId });
    const done = runBuild(build, { ...options, logger: log, stopping: stopping.signal }, signal)
      .catch((error: unknown) => log.error({ error, build: id }, 'a build could not be recorded'))
      .finally(() => {
        active.delete(id);
        if (isTerminal(journal.record.state)) retention.ended(journal.record);
      });
    active.set(id, { journal, cancel, done });
  };
  const startAll = async (...given: Parameters<typeof accept>): Promise<BuildRecord[]> => {
    const started = accept(...given);
    starting.add(started);
    try {
      return await started;
    } finally {
      starting.delete(started);
    }
  };

  const recordsOf = async ({ tenant }: Caller, matrix: string): Promise<BuildRecord[]> => {
    const stored = isUuid(matrix) ? await store.listMatrix(tenant, matrix) : [];
    if (stored.length === 0) throw new KilnError('NOT_FOUND', 'There is no matrix with this id.');
    return stored.map(asItIs);
  };
  const describe = createMatrixDescription(async ({ id, tenant }) => {
    const { log } = await filesOf({ tenant }, id);
    return readOrGone(id, log.read({ offset: 0, follow: false, signal: stopping.signal }));
  });

  const builds: RunningBuilds = {
    receive(caller, progress) {
      requireRole(caller, 'build');
      return receptions.enter(progress);
    },

    check(caller, request) {
      requireRole(caller, 'build');
      checkWithoutContext(request, rules);
    },

    async stageContexts(caller, signal) {
      requireRole(caller, 'build');
      scheduler.refuseIfFull(caller.tenant);
      await retention.makeRoom();
      const { stagingDirectory, limits, minFreeBytes } = options;
      return openStaging({ directory: stagingDirectory, limits, minFreeBytes, ...shared, signal });
    },

    async start(caller, request) {
      const [record] = await startAll(caller, request, null);
      if (!record) throw new Error('It is one build.');
      return record;
    },

    async startMatrix(caller, request) {
      const records = await startAll(caller, request, uuid());
      return describe(records[0]?.matrix ?? '', records);
    },
    matrix: async (caller, id) => describe(id, await recordsOf(caller, id)),
    async cancelMatrix(caller, id, reason) {
      requireRole(caller, 'build');
      const open = (await recordsOf(caller, id)).filter(({ state }) => !isTerminal(state));
      if (open.length === 0)
        throw new KilnError('BUILD_TERMINAL', `All builds of matrix ${id} have ended already.`);
      await Promise.all(open.map((record) => builds.cancel(caller, record.id, reason).catch(unlessEnded)));
      return builds.matrix(caller, id);
    },

    get: getRecord,
    list: ({ tenant }, request) => store.list({ ...request, tenant, maxBytes: maxPageBytes }),

    async cancel(caller, id, reason) {
      requireRole(caller, 'build');
      const running = active.get(id);
      const { state } = await getRecord(caller, id);
      if (isTerminal(state))
        throw new KilnError('BUILD_TERMINAL', `Build ${id} has ended already: ${state}.`);
      if (!running || running.journal.paused) throw outlives(id);
      running.cancel.abort(new KilnError('CANCELLED', reason));
      const { done } = running;
      return waitForCancelled(`Build ${id}`, {
        done,
        async get() {
          // It may have been paused in the same moment.
          if (running.journal.paused) throw outlives(id);
          return getRecord(caller, id);
        },
      });
    },

    attend: (caller, id) => attendBuild(caller, id, { cancel: builds.cancel, logger }),

    async readLog(caller, id, range) {
      return readOrGone(id, logOfAttempt(await filesOf(caller, id), range).read(range));
    },
    async watch(caller, id, range) {
      const files = await filesOf(caller, id);
      const journal = active.get(id)?.journal;
      const current = (): BuildFiles => journal?.files ?? files;
      return readOrGone(id, await orGone(id, watchBuildFiles(files, range, current)));
    },
    async events(caller, id, range) {
      await getRecord(caller, id);
      const running = active.get(id);
      if (running) return readBuildEvents(running.journal.files.events, range);
      const events = await orGone(id, openBuildEvents(join(buildsDirectory, id)));
      return readOrGone(id, await orGone(id, readBuildEvents(events, range)));
    },

    async artifact(caller, id) {
      const record = await getRecord(caller, id);
      if (!isTerminal(record.state)) throw new KilnError('NOT_READY', `Build ${id} has not ended yet.`);
      if (!record.artifact)
        throw new KilnError('NOT_FOUND', `Build ${id} kept no artifact: ${reasonForNone(record)}.`);
      const path = artifacts.path(record.artifact.digest);
      await orGone(id, access(path));
      return { artifact: record.artifact, path };
    },

    catalog: (_caller) => fleet.list(),
    readiness: () => options.readiness(draining),

    async resume(left) {
      for (const build of await resumeBuilds(left, options, stopping.signal)) run(build);
    },
    async drain() {
      draining = true;
      scheduler.refuseAll();
      await Promise.allSettled(starting);
      await Promise.all([...active.values()].map(({ done }) => done));
    },
    abort: () => stopping.abort(new KilnError('DRAINING', 'The service was stopped.')),
  };
  return builds;
}

function reasonForNone({ state, spec }: BuildRecord): string {
  return keptFormat(spec.outputs) === null
    ? 'it was not asked for one, with output=docker, oci or local'
    : `it is ${state}`;
}

function noSuchBuild(): KilnError {
  return new KilnError('NOT_FOUND', 'There is no build with this id.');
}

function outlives(id: string): KilnError {
  const message = `The service is stopping; build ${id} goes on after its next start, and can be cancelled then.`;
  return new KilnError('DRAINING', message);
}

/** One of several may end by itself before it is cancelled. */
function unlessEnded(error: unknown): void {
  if (KilnError.from(error).code !== 'BUILD_TERMINAL') throw error;
}
