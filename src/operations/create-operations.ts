import { join } from 'node:path';
import { validate as isUuid, v7 as uuid } from 'uuid';
import { verdictOfError } from '../builds/verdict.ts';
import type { Fleet } from '../fleet/fleet.ts';
import type { Logger } from '../lib/logger.ts';
import { type BuildFiles, openBuildFiles } from '../logs/build-files.ts';
import { readBuildEvents, watchBuildFiles } from '../logs/watch-files.ts';
import type { Verdict } from '../model/build.ts';
import { type Caller, requireRole } from '../model/caller.ts';
import { KilnError } from '../model/error.ts';
import type { Observer } from '../model/observer.ts';
import {
  type CompleteRebuild,
  completeTargets,
  type Operation,
  type RebuildRequest,
} from '../model/operation.ts';
import type { Operations } from '../model/operations.ts';
import { waitForCancelled } from '../model/wait-for-cancelled.ts';
import { finishOperation } from './finish-operation.ts';
import type { ImageHouse } from './image-house.ts';
import { OperationJournal, readOperation } from './operation-journal.ts';
import { newOperation, plan } from './plan.ts';
import { rebuildImage } from './rebuild-image.ts';
import { forgetOldOperations, listOperations } from './recover-operations.ts';
import { digestsOf, nextVersion, takenVersions } from './versions.ts';

export type OperationsOptions = {
  /** Holds a folder for each operation. */
  readonly directory: string;
  readonly house: ImageHouse;
  readonly fleet: Pick<Fleet, 'known'>;
  /** Where somebody counts. */
  readonly observer?: Observer;
  readonly logger: Logger;
};

export type RunningOperations = Operations & {
  /** Ends those that run, and begins no more; resolves when they have ended. */
  close(): Promise<void>;
  /** How many run now. */
  readonly runningCount: number;
};

/** What changes the images of an entry. */
type Change = { readonly operation: string } | 'a roll back' | 'pruning';

type Running = {
  readonly journal: OperationJournal;
  readonly cancel: AbortController;
  /** Never rejects. */
  readonly done: Promise<void>;
};

export function createOperations(options: OperationsOptions): RunningOperations {
  const { directory, house, fleet, observer, logger } = options;
  const running = new Map<string, Running>();
  /** Entries whose images are being changed. */
  const busy = new Map<string, Change>();
  /** Calls that are at work: `close` waits for them, too. */
  const calls = new Set<Promise<unknown>>();
  const stopping = new AbortController();
  const attended = async <T>(call: Promise<T>): Promise<T> => {
    calls.add(call);
    try {
      return await call;
    } finally {
      calls.delete(call);
    }
  };

  const find = async (id: string): Promise<Operation> => {
    // An id becomes part of a path: only what we made ourselves is looked for.
    if (!isUuid(id)) throw new KilnError('NOT_FOUND', 'There is no operation with this id.');
    return running.get(id)?.journal.operation ?? readOperation(join(directory, id));
  };
  const filesOf = async (id: string): Promise<BuildFiles> => {
    await find(id);
    return running.get(id)?.journal.files ?? openBuildFiles(join(directory, id));
  };
  const claim = (entry: string, change: Change): Disposable => {
    stopping.signal.throwIfAborted();
    const other = busy.get(entry);
    if (other !== undefined) throw isBusy(entry, other);
    busy.set(entry, change);
    return { [Symbol.dispose]: () => void busy.delete(entry) };
  };

  const begin = async (
    caller: Caller,
    asked: RebuildRequest | CompleteRebuild,
    resumes: string | null,
  ): Promise<Operation> => {
    const entry = fleet.known(asked.entry);
    const id = uuid();
    using undo = new DisposableStack();
    undo.use(claim(entry.name, { operation: id }));
    const earlier = await listOperations(directory);
    const taken = takenVersions(entry.name, earlier);
    const version =
      asked.version ?? nextVersion([...taken.keys(), ...(await house.servedVersions(entry.name))]);
    refuseTaken(entry.name, version, taken);
    const ours = digestsOf({ entry: entry.name, version }, earlier);
    const request = { ...asked, entry: entry.name, version, targets: completeTargets(asked, house) };
    await forgetOldOperations(directory, (one) => running.has(one));
    stopping.signal.throwIfAborted();
    const journal = await OperationJournal.open(newOperation({ id, request, resumes }), directory);
    const cancel = new AbortController();
    const signal = AbortSignal.any([cancel.signal, stopping.signal]);
    const held = undo.move();
    const work = async (): Promise<void> => {
      using _claim = held;
      if (request.dryRun) await plan(journal);
      else await rebuildImage(journal, { house, entry, caller, ours }, signal);
    };
    const done = run(journal, work).finally(() => running.delete(id));
    running.set(id, { journal, cancel, done });
    logger.info({ operation: id, tenant: caller.tenant, ...request }, 'an operation begins');
    return journal.operation;
  };

  /** Never rejects. */
  const run = async (journal: OperationJournal, work: () => Promise<void>): Promise<void> => {
    const verdict = await endOf(work);
    if (verdict.state !== 'succeeded')
      await journal.log(Buffer.from(`kiln: ${verdict.state}: ${verdict.message}\n`)).catch(() => undefined);
    await finishOperation(journal, verdict, { stopping: stopping.signal, logger });
    if (journal.operation.state !== 'running') observer?.operationEnded(journal.operation);
  };

  const operations: RunningOperations = {
    async rebuild(caller, request) {
      requireRole(caller, 'admin');
      return attended(begin(caller, request, null));
    },
    async resume(caller, id) {
      requireRole(caller, 'admin');
      const { state, request } = await find(id);
      if (state === 'succeeded')
        throw new KilnError('OPERATION_ENDED', `Operation ${id} succeeded; there is nothing left to resume.`);
      return attended(begin(caller, request, id));
    },
    async rollBack(caller, asked) {
      requireRole(caller, 'admin');
      const { name } = fleet.known(asked);
      using _claim = claim(name, 'a roll back');
      const served = await attended(house.rollBack(name, stopping.signal));
      logger.info({ ...served, tenant: caller.tenant }, 'builds run on another image after a roll back');
      return served;
    },
    async prune(caller, { dryRun }) {
      requireRole(caller, 'admin');
      const free = (entry: string): Disposable | null => (busy.has(entry) ? null : claim(entry, 'pruning'));
      const images = await attended(house.prune({ claim: free, dryRun }));
      if (!dryRun) logger.info({ images, tenant: caller.tenant }, 'old images were removed');
      return images;
    },
    async evidence(caller, id, kind) {
      requireRole(caller, 'admin');
      const { request, image } = await find(id);
      const text = image && (await house.readEvidence({ ...request, digest: image.digest }, kind));
      if (text !== null) return text;
      const message = `Nothing is told of ${request.entry} ${request.version} here: it was not made to its end, or was removed.`;
      throw new KilnError('NOT_FOUND', message);
    },
    async get(caller, id) {
      requireRole(caller, 'admin');
      return find(id);
    },
    async list(caller) {
      requireRole(caller, 'admin');
      return listOperations(directory);
    },
    async cancel(caller, id, reason) {
      requireRole(caller, 'admin');
      const { state } = await find(id);
      const one = running.get(id);
      if (!one) throw new KilnError('OPERATION_ENDED', `Operation ${id} has ended already: ${state}.`);
      one.cancel.abort(new KilnError('CANCELLED', reason));
      return waitForCancelled(`Operation ${id}`, { done: one.done, get: () => find(id) });
    },
    async watch(caller, id, range) {
      requireRole(caller, 'admin');
      return watchBuildFiles(await filesOf(id), range);
    },
    async readLog(caller, id, range) {
      requireRole(caller, 'admin');
      return (await filesOf(id)).log.read(range);
    },
    async events(caller, id, range) {
      requireRole(caller, 'admin');
      return readBuildEvents((await filesOf(id)).events, range);
    },
    get runningCount() {
      return running.size;
    },
    async close() {
      stopping.abort(new KilnError('DRAINING', 'The service is stopping.'));
      await Promise.allSettled(calls);
      await Promise.all([...running.values()].map(({ done }) => done));
    },
  };
  return operations;
}

function isBusy(entry: string, change: Change): KilnError {
  const about =
    typeof change === 'string'
      ? { by: change, advice: 'wait for its end', details: {} }
      : {
          by: `operation ${change.operation}`,
          advice: 'wait for its end, or cancel it',
          details: change,
        };
  const message = `The image of ${entry} is being changed already, by ${about.by}; ${about.advice}.`;
  return new KilnError('REBUILD_RUNNING', message, { details: about.details });
}

/** A version means one image, for good. */
function refuseTaken(entry: string, version: string, taken: ReadonlyMap<string, string>): void {
  const operation = taken.get(version);
  if (operation === undefined) return;
  throw new KilnError(
    'VERSION_EXISTS',
    `${entry} has a version ${version} already, made by operation ${operation}; name another, or none for the next.`,
    { details: { operation } },
  );
}

async function endOf(work: () => Promise<void>): Promise<Verdict> {
  try {
    await work();
    return {
      ...{ state: 'succeeded', exitCode: null, code: null, failureClass: null },
      message: 'The operation succeeded.',
    };
  } catch (error) {
    return verdictOfError(error);
  }
}
