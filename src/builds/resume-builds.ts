import type { WarmVm } from '../guest/warm-vm.ts';
import { BuildSecrets } from '../model/build-secrets.ts';
import type { Scheduler } from '../scheduler/scheduler.ts';
import type { BegunBuild } from './accept-builds.ts';
import { Journal, type JournalOptions } from './journal.ts';
import type { LeftBuild } from './recover-builds.ts';
import { requestFor } from './request-vm.ts';

/** Puts what an earlier run of the service left into the line again, in this order. @throws KilnError STORAGE_FULL, DRAINING */
export async function resumeBuilds(
  left: readonly LeftBuild[],
  options: JournalOptions & { readonly scheduler: Pick<Scheduler<WarmVm>, 'enterAsBefore'> },
  stopping: AbortSignal,
): Promise<BegunBuild[]> {
  const builds: BegunBuild[] = [];
  for (const { record, lost } of left) {
    const journal = await Journal.resume(record, lost, options);
    const cancel = new AbortController();
    const signal = AbortSignal.any([cancel.signal, stopping]);
    const lease = options.scheduler.enterAsBefore(requestFor(journal, signal));
    lease.catch(() => undefined);
    builds.push({ journal, secrets: BuildSecrets.none, lease, cancel, signal });
  }
  return builds;
}
