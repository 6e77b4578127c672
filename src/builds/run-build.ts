import { TimeLimit } from '../lib/abort.ts';
import { type BuildRecord, isTerminal, type Verdict } from '../model/build.ts';
import { hasNone } from '../model/build-secrets.ts';
import { KilnError } from '../model/error.ts';
import type { AcceptedBuild, RunDependencies } from './accepted-build.ts';
import type { Used } from './attempts.ts';
import { removeInput } from './build-input.ts';
import { type Ending, finishBuild } from './finish-build.ts';
import { mayRunAgain, outlivesService, secretsLost } from './may-run-again.ts';
import { reportEnd, reportFailure, reportPause, reportRetry } from './report-end.ts';
import { requestFor } from './request-vm.ts';
import { type FinishedRun, runInVm } from './run-in-vm.ts';
import { verdictOfError, verdictOfExit } from './verdict.ts';
import { verifyPushes } from './verify-pushes.ts';

/**
 * The life of a build: the line → a VM of its own, in which buildctl runs → the VM is gone → what it put out is checked and
 * kept → the verdict. Where the VM is lost, once more from the line on. Never rejects for anything that is the build's own.
 */
export async function runBuild(
  build: AcceptedBuild,
  deps: RunDependencies,
  signal: AbortSignal,
): Promise<void> {
  const { journal } = build;
  const ending = await findEnding(build, deps, signal);
  if (!('verdict' in ending)) {
    reportPause(deps.logger, journal.record);
    await journal.pause(describePause(journal.record), ending);
    return;
  }
  try {
    await finishBuild(journal, ending, deps);
  } finally {
    // Also where its log is not all on the disk. One whose end could not be written is run again.
    if (isTerminal(journal.record.state)) {
      await removeInput(journal.directory);
      reportEnd(deps, journal.record);
    }
  }
}

/** Never rejects: whatever goes wrong is a verdict, too, but for the end of the service, which a build outlives: that is none. */
async function findEnding(
  build: AcceptedBuild,
  deps: RunDependencies,
  signal: AbortSignal,
): Promise<Ending | Used> {
  const { journal } = build;
  let used: Used = { seconds: 0, egress: [] };
  try {
    for (let coming = build.lease; ; ) {
      using limit = createTimeLimit(journal.record, deps);
      using silence = createSilenceLimit(journal.record, deps);
      const inTime = AbortSignal.any([signal, limit.signal]);
      // Of what is left to do once buildctl has ended nothing prints.
      const talking = AbortSignal.any([inTime, silence.signal]);
      const onLease = (): void => {
        limit.start();
        silence.start();
      };
      const onOutput = (): void => silence.restart();
      const run = await runInVm(build, coming, { ...deps, onLease, onOutput }, talking);
      used = { seconds: limit.usedMs / 1000, egress: run.egress };
      if (!('error' in run)) return { verdict: await settle(build, run, deps, inTime), ...used };
      if (run.error.code !== 'INFRA' || !mayRunAgain(journal.record)) throw run.error;
      reportRetry(deps.logger, journal.record.id, run.error);
      await journal.tryAgain(lostVm(run.error), used);
      used = { seconds: 0, egress: [] };
      coming = deps.scheduler.enterAgain(requestFor(journal, signal));
    }
  } catch (error) {
    if (KilnError.from(error).code === 'DRAINING') {
      if (outlivesService(journal.record)) return used;
      if (!hasNone(journal.record.secrets)) return { verdict: secretsLost, ...used };
    }
    reportFailure(deps.logger, journal.record.id, error);
    return { verdict: verdictOfError(error), ...used };
  }
}

function describePause({ id, state }: BuildRecord): string {
  const how = state === 'queued' ? 'it stays in the line and runs' : 'it is run once more';
  return `The service is stopping; ${how} after the next start: GET /v1/builds/${id}`;
}

function lostVm({ message }: KilnError): { code: 'INFRA'; message: string } {
  return { code: 'INFRA', message: `${message.replace(/\.?$/, '.')} Trying once more in another one.` };
}

/** Of all attempts together. Its clock runs while there is a VM: waiting for one is not the build's time. */
function createTimeLimit({ spec, attempts }: BuildRecord, deps: RunDependencies): TimeLimit {
  const seconds = spec.timeoutSeconds ?? deps.timeouts.defaultSeconds;
  const used = attempts.reduce((sum, attempt) => sum + (attempt.seconds ?? 0), 0);
  return new TimeLimit({
    ms: Math.max(0, seconds - used) * 1000,
    reason: () => new KilnError('TIMEOUT', `The build took longer than the ${seconds} s it was given.`),
  });
}

/** It runs while nothing is printed. */
function createSilenceLimit({ spec }: BuildRecord, deps: RunDependencies): TimeLimit {
  const seconds = spec.noOutputTimeoutSeconds ?? deps.timeouts.noOutputSeconds;
  return new TimeLimit({
    ms: seconds === 0 ? Number.POSITIVE_INFINITY : seconds * 1000,
    reason: () => new KilnError('TIMEOUT', `The build printed nothing for ${seconds} s.`),
  });
}

/**
 * The VM is gone: nobody writes the artifact's file any more, so now it can be checked, and kept as it is; and nobody pushes any more, so
 * that what lies in the registries can be read.
 */
async function settle(
  { journal, secrets }: AcceptedBuild,
  { result, artifact: claim, ...seen }: FinishedRun,
  { artifacts, readDigest, vmDiskBytes: diskBytes }: RunDependencies,
  signal: AbortSignal,
): Promise<Verdict> {
  if (claim) {
    const artifact = await artifacts.keep(claim, (kept) => journal.change({ artifact: kept }), signal);
    await journal.event({ type: 'artifact', artifact });
  }
  if (result.exitCode === 0) {
    const { imageDigest } = result;
    const pushed = await verifyPushes(journal.record.spec, { imageDigest, secrets }, readDigest, signal);
    if (pushed.length > 0) await journal.change({ pushed });
    for (const image of pushed) await journal.event({ type: 'pushed', image });
  }
  return verdictOfExit({ ...result, ...seen, diskBytes });
}
