import type { Attempt, EgressDestination } from '../model/build.ts';

/** What a run in a VM came to: seconds of the time that the build may take, and where it connected to. */
export type Used = { readonly seconds: number; readonly egress: readonly EgressDestination[] };

/** Why an attempt was no good. */
export type Lost = NonNullable<Attempt['error']>;

/** The last one, where it has not ended yet. */
export function endAttempt(
  attempts: readonly Attempt[],
  { seconds, error }: Pick<Attempt, 'seconds' | 'error'>,
): readonly Attempt[] {
  const last = attempts.at(-1);
  if (!last || last.ended !== null) return attempts;
  return [...attempts.slice(0, -1), { ...last, ended: new Date().toISOString(), seconds, error }];
}
