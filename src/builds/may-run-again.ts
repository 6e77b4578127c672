import type { BuildRecord, Verdict } from '../model/build.ts';
import { hasNone } from '../model/build-secrets.ts';

/** How many VMs one build may lose, with the one that it has. */
const maxAttempts = 2;

/**
 * Whether a build whose attempt was lost is run once more. What one attempt did to the world outside its VM, another does again: so
 * never where the caller asked for at most once, nor after it may have pushed something.
 */
export function mayRunAgain({
  spec,
  attempts,
  pushBegun,
}: Pick<BuildRecord, 'spec' | 'attempts' | 'pushBegun'>): boolean {
  return spec.retry === 'infra' && attempts.length < maxAttempts && !pushBegun;
}

/** Whether the next start of the service goes on with a build that has not ended; one with secrets, which lie in memory alone, does not. */
export function outlivesService(
  record: Pick<BuildRecord, 'state' | 'spec' | 'attempts' | 'pushBegun' | 'secrets'>,
): boolean {
  return hasNone(record.secrets) && (record.state === 'queued' || mayRunAgain(record));
}

/** How a build ends that the service leaves, and its secrets with it. */
export const secretsLost: Verdict = {
  state: 'interrupted',
  exitCode: null,
  code: 'SECRETS_LOST',
  failureClass: 'INFRA',
  message:
    'The service stopped before this build had ended. It was sent with secrets, which lie in memory alone, so it cannot go on; send it again.',
};
