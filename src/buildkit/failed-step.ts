import { z } from 'zod';
import { printable } from '../lib/text.ts';

/** The step that a build failed in, as BuildKit's own trace tells it; what a step prints is no part of that. */
export type FailedStep = {
  /** Such as `[2/2] RUN make`, safe to print, cut where it is long. */
  readonly name: string;
  /** The end of what BuildKit says went wrong, as it is: not for printing. */
  readonly error: string;
  /** By the clock of its VM, in ms since 1970; null where it did not begin. */
  readonly started: number | null;
};

const maxNameLength = 200;
/** What tells one failure from another comes last; before it may stand a whole script. */
const maxErrorLength = 1000;

const statusSchema = z.object({
  vertexes: z.array(
    z.object({ name: z.string().optional(), error: z.string().optional(), started: z.string().optional() }),
  ),
});

/** The step that this status says has failed; null for those that ended only because another one had. */
export function findFailedStep(status: unknown): FailedStep | null {
  const parsed = statusSchema.safeParse(status);
  for (const { name = '', error = '', started } of parsed.data?.vertexes ?? []) {
    if (error === '' || error.endsWith('context canceled')) continue;
    const at = Date.parse(started ?? '');
    return {
      name: printable(name, maxNameLength),
      error: error.slice(-maxErrorLength),
      started: Number.isNaN(at) ? null : at,
    };
  }
  return null;
}
