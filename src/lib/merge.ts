/**
 * Items of several sources as they come. Leaving the loop, or a source that fails, returns every other source.
 */
export async function* mergeIterables<T>(sources: readonly AsyncIterable<T>[]): AsyncGenerator<T> {
  const iterators = sources.map((source) => source[Symbol.asyncIterator]());
  const pending = new Map(iterators.map((iterator) => [iterator, step(iterator)]));
  try {
    while (pending.size > 0) {
      const { iterator, result } = await Promise.race(pending.values());
      if (result.done) {
        pending.delete(iterator);
        continue;
      }
      yield result.value;
      pending.set(iterator, step(iterator));
    }
  } finally {
    for (const promise of pending.values()) promise.catch(() => undefined);
    // Not awaited: a source in the middle of a wait returns only when that wait ends.
    for (const iterator of pending.keys()) void iterator.return?.()?.catch(() => undefined);
  }
}

async function step<T>(
  iterator: AsyncIterator<T>,
): Promise<{ iterator: AsyncIterator<T>; result: IteratorResult<T> }> {
  return { iterator, result: await iterator.next() };
}
