import type { SealedContext } from '../model/context.ts';

/** One context for several builds, each of which disposes its own; with the last one the image is removed. */
export function shareContext(context: SealedContext, builds: number): SealedContext[] {
  let holders = builds;
  return Array.from({ length: builds }, () => {
    let held = true;
    return {
      ...context,
      async [Symbol.asyncDispose]() {
        if (!held) return;
        held = false;
        holders -= 1;
        if (holders === 0) await context[Symbol.asyncDispose]();
      },
    };
  });
}
