/**
 * Waits for pieces of work of which none is of use without the others. When one fails, the signal that all were begun with aborts with
 * its error; whatever comes of them, all have ended when this settles.
 * @throws what failed first
 */
export async function together<T extends readonly Promise<unknown>[] | []>(
  signal: AbortSignal,
  begin: (linked: AbortSignal) => T,
): Promise<{ -readonly [Key in keyof T]: Awaited<T[Key]> }> {
  const failure = new AbortController();
  const works = begin(AbortSignal.any([signal, failure.signal]));
  for (const work of works) work.catch((error: unknown) => failure.abort(error));
  await Promise.allSettled(works);
  failure.signal.throwIfAborted();
  return Promise.all(works);
}
