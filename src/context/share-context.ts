import type { SealedContexts } from '../model/context.ts';

/** Contexts of one upload for several builds, each of which disposes its own; with the last one the image is removed. */
export function shareContext(context: SealedContexts, builds: number): SealedContexts[] {
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
