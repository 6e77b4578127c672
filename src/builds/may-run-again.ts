import type { BuildRecord } from '../model/build.ts';

/** How many VMs one build may lose, with the one that it has. */
const maxAttempts = 2;

/**
 * Whether a build whose attempt was lost is run once more. What one attempt did to the world outside its VM, another does again: so
 * never where the caller asked for at most once. Whoever lets builds push something says here that none is run again after that.
 */
export function mayRunAgain({ spec, attempts }: Pick<BuildRecord, 'spec' | 'attempts'>): boolean {
  return spec.retry === 'infra' && attempts.length < maxAttempts;
}

/** Whether the next start of the service goes on with a build that has not ended. */
export function outlivesService(record: Pick<BuildRecord, 'state' | 'spec' | 'attempts'>): boolean {
  return record.state === 'queued' || mayRunAgain(record);
}
