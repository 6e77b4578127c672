import { z } from 'zod';
import { printable } from '../lib/text.ts';

/** How BuildKit calls the step that looks a frontend up, and the one that pulls it (solver/llbsolver/bridge.go). */
const stepName = /^(?:resolve image config for )?docker-image:\/\/(\S+)$/;
const maxNameLength = 300;

const statusSchema = z.object({
  vertexes: z.array(z.object({ name: z.string().optional(), error: z.string().optional() })),
});

/** The frontend that this status says could not be pulled; null where it says nothing of that. */
export function findMissingFrontend(status: unknown): string | null {
  const parsed = statusSchema.safeParse(status);
  for (const { name = '', error = '' } of parsed.data?.vertexes ?? []) {
    const image = stepName.exec(name)?.[1];
    if (image !== undefined && error !== '') return printable(image.slice(0, maxNameLength));
  }
  return null;
}
