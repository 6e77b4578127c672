import { TimeLimit } from '../lib/abort.ts';
import type { EgressDestination, Verdict } from '../model/build.ts';
import { KilnError } from '../model/error.ts';
import type { AcceptedBuild, RunDependencies } from './accepted-build.ts';
import { type Ending, finishBuild } from './finish-build.ts';
import type { Journal } from './journal.ts';
import { reportEnd, reportFailure, reportRetry } from './report-end.ts';
import { requestFor } from './request-vm.ts';
import { type FinishedRun, runInVm } from './run-in-vm.ts';
import { verdictOfError, verdictOfExit } from './verdict.ts';

/** How many VMs one build may lose. */
const maxAttempts = 2;

/**
 * The life of a build: the line → a VM of its own, in which buildctl runs → the VM is gone → what it put out is checked and
 * kept → the verdict. Never rejects for anything that is the build's own.
 */
export async function runBuild(
  build: AcceptedBuild,
  deps: RunDependencies,
  signal: AbortSignal,
): Promise<void> {
  const ending = await findEnding(build, deps, signal);
  await build.context?.[Symbol.asyncDispose]();
  await finishBuild(build.journal, ending, deps);
  reportEnd(deps.logger, build.journal.record);
}

/** Never rejects: whatever goes wrong is a verdict, too. */
async function findEnding(build: AcceptedBuild, deps: RunDependencies, signal: AbortSignal): Promise<Ending> {
  const egress: EgressDestination[] = [];
  using limit = createTimeLimit(build, deps);
  const limited = AbortSignal.any([signal, limit.signal]);
  try {
    let coming = build.lease;
    for (let attempt = 1; ; attempt += 1) {
      const run = await runInVm(build, coming, { ...deps, onLease: () => limit.start() }, limited);
      egress.push(...run.egress);
      if (!('error' in run)) return { verdict: await settle(build.journal, run, deps, limited), egress };
      if (attempt === maxAttempts || !isUnspoken(build.journal, run.error)) throw run.error;
      reportRetry(deps.logger, build.journal.record.id, run.error);
      await build.journal.warn(`${run.error.message} Trying once more in another one.`);
      coming = deps.scheduler.enterAgain(requestFor(build.journal, limited));
    }
  } catch (error) {
    reportFailure(deps.logger, build.journal.record.id, error);
    return { verdict: verdictOfError(error), egress };
  }
}

/** One for all attempts of a build. Its clock starts with the first VM: waiting for that is not the build's time. */
function createTimeLimit({ journal }: AcceptedBuild, deps: RunDependencies): TimeLimit {
  const seconds = journal.record.spec.timeoutSeconds ?? deps.defaultTimeoutSeconds;
  return new TimeLimit({
    ms: seconds * 1000,
    reason: () => new KilnError('TIMEOUT', `The build took longer than the ${seconds} s it was given.`),
  });
}

/**
 * Whether a VM was lost before its build has said a word: then nobody has seen anything of the attempt but its warnings.
 * After that a second attempt would say everything twice.
 */
function isUnspoken({ files }: Journal, { code }: KilnError): boolean {
  return code === 'INFRA' && files.log.size === 0;
}

/** The VM is gone: nobody writes the artifact's file any more, so now it can be checked, and kept as it is. */
async function settle(
  journal: Journal,
  { result, artifact: claim }: FinishedRun,
  { artifacts }: RunDependencies,
  signal: AbortSignal,
): Promise<Verdict> {
  if (claim) {
    const artifact = await artifacts.keep(claim, (kept) => journal.change({ artifact: kept }), signal);
    await journal.event({ type: 'artifact', artifact });
  }
  return verdictOfExit(result);
}
