import type { Logger } from '../lib/logger.ts';
import { printable } from '../lib/text.ts';
import type { Builds } from '../model/builds.ts';
import type { Caller } from '../model/caller.ts';
import { KilnError } from '../model/error.ts';
import type { Operations } from '../model/operations.ts';
import type { AuditEntry } from './audit-log.ts';

export type Auditor = {
  readonly log: { append(entry: AuditEntry): Promise<void> };
  readonly logger: Logger;
};

const maxSubjectLength = 128;

type Call = { readonly action: string; readonly caller: Caller; readonly subject: string | null };

/** The same use-cases; those that change anything are written down, also where they were refused. */
export function audit(
  { builds, operations }: { readonly builds: Builds; readonly operations: Operations },
  auditor: Auditor,
): { readonly builds: Builds; readonly operations: Operations } {
  const by = recorder(auditor);
  return { builds: auditBuilds(builds, by), operations: auditOperations(operations, by) };
}

function auditBuilds(builds: Builds, by: Recorder): Builds {
  return {
    ...builds,
    start: (caller, request) =>
      by({ action: 'build.start', caller, subject: null }, () => builds.start(caller, request), idOf),
    startMatrix: (caller, request) =>
      by({ action: 'matrix.start', caller, subject: null }, () => builds.startMatrix(caller, request), idOf),
    cancel: (caller, id, reason) =>
      by({ action: 'build.cancel', caller, subject: id }, () => builds.cancel(caller, id, reason)),
    cancelMatrix: (caller, id, reason) =>
      by({ action: 'matrix.cancel', caller, subject: id }, () => builds.cancelMatrix(caller, id, reason)),
  };
}

function auditOperations(operations: Operations, by: Recorder): Operations {
  return {
    ...operations,
    rebuild: (caller, request) =>
      by(
        { action: 'image.rebuild', caller, subject: request.entry },
        () => operations.rebuild(caller, request),
        idOf,
      ),
    resume: (caller, id) =>
      by({ action: 'operation.resume', caller, subject: id }, () => operations.resume(caller, id), idOf),
    rollBack: (caller, entry) =>
      by({ action: 'image.rollback', caller, subject: entry }, () => operations.rollBack(caller, entry)),
    prune: (caller, options) =>
      by({ action: options.dryRun ? 'image.prune-dry-run' : 'image.prune', caller, subject: null }, () =>
        operations.prune(caller, options),
      ),
    cancel: (caller, id, reason) =>
      by({ action: 'operation.cancel', caller, subject: id }, () => operations.cancel(caller, id, reason)),
  };
}

const idOf = ({ id }: { readonly id: string }): string => id;

/** @param made The id of what a call made, where it is told only then. */
type Recorder = <Result>(
  call: Call,
  work: () => Promise<Result>,
  made?: (result: Result) => string,
) => Promise<Result>;

function recorder({ log, logger }: Auditor): Recorder {
  return async ({ action, caller, subject }, work, made) => {
    const write = (told: string | null, outcome: string): Promise<void> => {
      const { tenant, role, token = null } = caller;
      // It may be whatever a caller put into an address.
      const named = told === null ? null : printable(told).slice(0, maxSubjectLength);
      const entry = { action, tenant, role, token, subject: named, outcome };
      // What was done is done: who asked for it gets its answer, and whoever runs this is told.
      return log
        .append(entry)
        .catch((error: unknown) => logger.error({ err: error, ...entry }, 'the audit log cannot be written'));
    };
    try {
      const result = await work();
      await write(made?.(result) ?? subject, 'ok');
      return result;
    } catch (error) {
      await write(subject, KilnError.from(error).code);
      throw error;
    }
  };
}
