import { setTimeout as sleep } from 'node:timers/promises';
import { KilnError } from '../model/error.ts';
import { runStep, type StepContext } from './run-step.ts';

const retryMs = 5000;
/** A fresh machine may update itself for some minutes after its first boot. */
const maxWaitMs = 15 * 60_000;

/** How apt and dpkg say that another one of them is at work. */
const lockedOut = /Could not get lock|Unable to (?:lock|acquire)|locked by another process/;

/** Installs Debian packages; while another program does the same, waits for its end. @throws KilnError INFRA with apt's own words */
export async function installPackages(packages: readonly string[], context: StepContext): Promise<void> {
  const { progress, signal } = context;
  progress(`packages  installing ${packages.join(' ')}`);
  const started = performance.now();
  for (let said = false; ; said = true) {
    try {
      await tryInstall(packages, context);
      return;
    } catch (error) {
      const isLocked = lockedOut.test(KilnError.from(error).message);
      if (!isLocked || performance.now() - started > maxWaitMs) throw error;
      if (!said) progress('packages  another program is installing packages; waiting for its end …');
      await sleep(retryMs, undefined, { signal });
    }
  }
}

async function tryInstall(packages: readonly string[], context: StepContext): Promise<void> {
  const step = { ...context, name: 'packages', env: { DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C' } };
  // An installation that was interrupted would make this one fail.
  await runStep('dpkg', ['--configure', '--pending'], step);
  await runStep('apt-get', ['update'], step);
  await runStep('apt-get', ['install', '-y', '--no-install-recommends', ...packages], step);
}
