import { type FailedStep, findFailedStep } from '../buildkit/failed-step.ts';
import { createBuildMask } from '../logs/mask/build-mask.ts';
import type { BuildSecrets } from '../model/build-secrets.ts';
import type { Journal } from './journal.ts';

/** Where one attempt's log and statuses go: into the journal, masked. */
export type MaskedOutput = Pick<Journal, 'log' | 'status'> & {
  /** Writes what was held, as it might have become a secret; nothing follows. */
  end(): Promise<void>;
  /** The first step that failed, as what was written says it. */
  readonly failedStep: FailedStep | null;
};

export function maskOutput(journal: Journal, secrets: BuildSecrets): MaskedOutput {
  const mask = createBuildMask(secrets);
  const log = async (bytes: Buffer): Promise<void> => {
    if (bytes.length > 0) await journal.log(bytes);
  };
  let failedStep: FailedStep | null = null;
  const write = async (status: unknown): Promise<void> => {
    failedStep ??= findFailedStep(status);
    await journal.status(status);
  };
  return {
    log: (bytes) => log(mask.log(bytes)),
    status: (status) => write(mask.status(status)),
    async end() {
      const held = mask.end();
      await log(held.log);
      if (held.status !== null) await write(held.status);
    },
    get failedStep() {
      return failedStep;
    },
  };
}
