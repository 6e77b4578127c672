import type { FailedStep } from '../buildkit/failed-step.ts';
import type { Refusal } from '../model/build.ts';
import type { FailureClass } from '../model/failure-class.ts';

/**
 * What is known of a build whose buildctl exited with an error. Of the log, which a step can fill with anything, nothing is in it: BuildKit's
 * own trace, counters of the guest's kernel, and what kiln itself saw of its connections.
 */
export type Evidence = {
  readonly failedStep: FailedStep | null;
  /** Processes that the guest's kernel killed during the build, as there was no memory left. */
  readonly oomKills: number;
  /** Least room that the guest's disk had during the build, in bytes; null where nobody looked. */
  readonly leastFreeBytes: number | null;
  /** Of a connection, by a rule of this service: the last one; null where there was none. */
  readonly refusal: Refusal | null;
};

/** With less than this left, a file system has next to nothing for anybody. */
const fullBytes = 16 * 1024 * 1024;
/** The clocks of the machine and of its VM agree, but not to the millisecond. */
const clockSlackMs = 2000;

/** Steps in which BuildKit itself asks a registry for an image; a RUN step's name begins otherwise, whatever it runs. */
const registryStep =
  /^(?:\[[^\]]*\] )?(?:load metadata for |FROM |resolve image config for |docker-image:\/\/|importing cache manifest from )|^(?:exporting|pushing|\[auth\]) /;
/** In BuildKit's and containerd's own words. */
const wantsAccount =
  /\b(?:401 Unauthorized|403 Forbidden)|authorization failed|insufficient_scope|access denied|failed to authorize|no basic auth credentials/;
const cannotAnswer =
  /\b(?:429|5\d\d) [A-Z]|dial tcp|no such host|server misbehaving|connection (?:refused|reset)|i\/o timeout|TLS handshake|deadline exceeded|unexpected EOF|: EOF|no route to host|network is unreachable|toomanyrequests/;

/** Why it failed. Total: where nothing else is to be seen, it is what was asked for that cannot be built. */
export function classifyFailure(evidence: Evidence): FailureClass {
  const { failedStep, oomKills, leastFreeBytes } = evidence;
  if (oomKills > 0) return 'OOM';
  if (leastFreeBytes !== null && leastFreeBytes < fullBytes) return 'DISK_FULL';
  const isOfRegistry = failedStep !== null && registryStep.test(failedStep.name);
  if (isOfRegistry && wantsAccount.test(failedStep.error)) return 'REGISTRY_AUTH';
  if (wasRefused(evidence)) return 'NETWORK_REFUSED';
  if (isOfRegistry && cannotAnswer.test(failedStep.error)) return 'REGISTRY_UNAVAILABLE';
  return 'USER_ERROR';
}

/** Not by a step that ended well before. */
function wasRefused({ failedStep, refusal }: Evidence): boolean {
  if (refusal === null) return false;
  const began = failedStep?.started ?? null;
  return began === null || refusal.at >= began - clockSlackMs;
}
