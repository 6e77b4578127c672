import { z } from 'zod';
import { KilnError } from '../model/error.ts';
import type { LookedUp } from './image-builder.ts';

const statusSchema = z.object({ vertexes: z.array(z.object({ name: z.string() })).default([]) });
const fromStep = /^\[.*\] FROM \S+@(sha256:[0-9a-f]{64})$/;

/**
 * To which digest a `FROM` was resolved, which is part of that step's name.
 * @param status One SolveStatus object of BuildKit; whatever else it is tells nothing.
 */
export function resolvedDigest(status: unknown): string | null {
  const { data } = statusSchema.safeParse(status);
  for (const { name } of data?.vertexes ?? []) {
    const digest = fromStep.exec(name)?.[1];
    if (digest !== undefined) return digest;
  }
  return null;
}

/** @param digest That its build was told; null where it was told none. */
export function found(digest: string | null): LookedUp {
  return digest === null ? { why: 'BuildKit told no digest of it' } : { digest };
}

/** The same image for good, whatever its tag leads to later. */
export function pinned(reference: string, digest: string): string {
  return reference.includes('@') ? reference : `${reference}@${digest}`;
}

/** @throws KilnError INFRA where it cannot be had */
export function requireDigest(image: string, lookedUp: LookedUp): string {
  if ('digest' in lookedUp) return lookedUp.digest;
  throw new KilnError('INFRA', `${image} cannot be had from its registry: ${lookedUp.why}`);
}
