/**
 * Items of several sources as they come. Leaving the loop, or a source that fails, returns every other source.
 *
 * A source is asked for its next item once, and says so when it has answered. To race all sources for each item would be shorter,
 * but a promise holds the outcome of every race it is in until it settles: a silent source would keep all that the others gave.
 */
export async function* mergeIterables<T>(sources: readonly AsyncIterable<T>[]): AsyncGenerator<T> {
  const open = new Set(sources.map((source) => source[Symbol.asyncIterator]()));
  const answered: { iterator: AsyncIterator<T>; answer: Promise<IteratorResult<T>> }[] = [];
  let news = Promise.withResolvers<void>();
  const ask = (iterator: AsyncIterator<T>): void => {
    const answer = iterator.next();
    const tell = (): void => {
      answered.push({ iterator, answer });
      news.resolve();
    };
    answer.then(tell, tell);
  };
  try {
    for (const iterator of open) ask(iterator);
    while (open.size > 0) {
      await news.promise;
      news = Promise.withResolvers();
      for (const { iterator, answer } of answered.splice(0)) {
        const { done, value } = await answer;
        if (done) {
          open.delete(iterator);
          continue;
        }
        yield value;
        ask(iterator);
      }
    }
  } finally {
    // Not awaited: a source in the middle of a wait returns only when that wait ends.
    for (const iterator of open) void iterator.return?.()?.catch(() => undefined);
  }
}
