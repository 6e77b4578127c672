import { setTimeout as sleep } from 'node:timers/promises';
import { KilnError } from '../model/error.ts';
import { RegistryFailure } from './run-program.ts';

export type Retries = {
  /** How long is waited before the second try, the third …, in ms. There are no more tries than that. */
  readonly waitsMs: readonly number[];
  /** A line for people. */
  readonly say: (line: string) => void;
};

/** Three tries, as users of the archive know them. */
export const standardWaitsMs: readonly number[] = [10_000, 10_000];
/** A registry may ask for more than is waited otherwise, but not for this much. */
const longestWaitMs = 5 * 60_000;

/**
 * Does what may fail because a registry is away, restarts or has too much to do, and tries again where that may help.
 * @param about Such as `registry.example.org: pushing ctr_buildkit-v0.20.2_v0.1.0`, for what is said.
 * @throws KilnError REGISTRY_UNAVAILABLE after the last try, REGISTRY_AUTH, REGISTRY_REFUSED, INFRA; the signal's reason on abort
 */
export async function withRetries<T>(
  work: () => Promise<T>,
  about: { readonly host: string; readonly what: string },
  { waitsMs, say, signal }: Retries & { readonly signal: AbortSignal },
): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await work();
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof RegistryFailure)) throw error;
      const waitMs = waitsMs[tries - 1];
      if (!mayPass(error) || waitMs === undefined) throw toKilnError(error, about, tries);
      const ms = Math.max(waitMs, askedWaitMs(error));
      say(`${about.what}: ${error.message}; trying again in ${Math.ceil(ms / 1000)} s`);
      await sleep(ms, undefined, { signal });
    }
  }
}

function mayPass({ failure: { kind, status } }: RegistryFailure): boolean {
  return kind === 'network' || (kind === 'status' && (status === 429 || status === 408 || status >= 500));
}

/** RFC 9110, 10.2.3: seconds, or a date. */
function askedWaitMs({ failure: { retryAfter } }: RegistryFailure): number {
  const ms = /^\d+$/.test(retryAfter) ? Number(retryAfter) * 1000 : Date.parse(retryAfter) - Date.now();
  return Number.isNaN(ms) ? 0 : Math.min(Math.max(ms, 0), longestWaitMs);
}

function toKilnError(
  error: RegistryFailure,
  { host, what }: { host: string; what: string },
  tries: number,
): KilnError {
  const { kind, status } = error.failure;
  const options = { cause: error };
  if (mayPass(error)) {
    const message = `${what} failed ${tries} times, as ${host} is away or overloaded (${error.message}); resume the operation once it answers, what was made is kept.`;
    return new KilnError('REGISTRY_UNAVAILABLE', message, options);
  }
  if (status === 401 || status === 403) {
    const message = `${host} does not let this through (${error.message}); put an account that may push there into the docker config that KILN_REGISTRY_CONFIG names.`;
    return new KilnError('REGISTRY_AUTH', message, options);
  }
  if (kind === 'plain') {
    const message = `${host} speaks HTTP without TLS, so that whoever is on the way sees accounts and may change images; give it a certificate, or set KILN_REGISTRY_INSECURE=${host}.`;
    return new KilnError('REGISTRY_REFUSED', message, options);
  }
  if (kind === 'local')
    return new KilnError('INFRA', `${what} failed on this machine: ${error.message}`, options);
  return new KilnError('REGISTRY_REFUSED', `${host} refuses: ${what} failed (${error.message}).`, options);
}
