import { setImmediate } from 'node:timers/promises';

/** Lets the event loop serve everyone else, once in every so many steps of a long loop. */
export class Turns {
  readonly #steps: number;
  #done = 0;

  /** @param steps between two turns; together they should take a few milliseconds. */
  constructor(steps: number) {
    this.#steps = steps;
  }

  /** After each step: what to wait for, if anything. Awaiting nothing at each would cost more than the step does. */
  step(): Promise<void> | undefined {
    this.#done += 1;
    return this.#done % this.#steps === 0 ? setImmediate() : undefined;
  }
}

/** Sorts a copy, as `toSorted` does, without holding up the event loop: short runs, merged two by two. */
export async function sortInTurns<T extends object>(
  items: readonly T[],
  compare: (a: T, b: T) => number,
  runLength = 2000,
): Promise<T[]> {
  const turns = new Turns(runLength);
  let runs: T[][] = [];
  for (let start = 0; start < items.length; start += runLength) {
    runs.push(items.slice(start, start + runLength).sort(compare));
    await setImmediate();
  }
  while (runs.length > 1) {
    const longer: T[][] = [];
    for (let index = 0; index < runs.length; index += 2)
      longer.push(await merge(runs[index] ?? [], runs[index + 1] ?? [], compare, turns));
    runs = longer;
  }
  return runs[0] ?? [];
}

async function merge<T extends object>(
  left: readonly T[],
  right: readonly T[],
  compare: (a: T, b: T) => number,
  turns: Turns,
): Promise<T[]> {
  const merged: T[] = [];
  for (let l = 0, r = 0; ; ) {
    const [a, b] = [left[l], right[r]];
    const next = a && (!b || compare(a, b) <= 0) ? a : b;
    if (!next) return merged;
    merged.push(next);
    if (next === a) l += 1;
    else r += 1;
    const turn = turns.step();
    if (turn) await turn;
  }
}
