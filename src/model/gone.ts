import { KilnError } from './error.ts';

/** A file that the record of a build promises may be removed at any moment, to make room. @throws KilnError GONE where it was */
export async function orGone<T>(id: string, opening: Promise<T>): Promise<T> {
  try {
    return await opening;
  } catch (error) {
    throw asGone(id, error);
  }
}

/** The same for what is opened where its reading begins. */
export async function* readOrGone<T>(id: string, items: AsyncIterable<T>): AsyncGenerator<T, void> {
  try {
    yield* items;
  } catch (error) {
    throw asGone(id, error);
  }
}

/** GONE in place of what a file system says of a file that is not there; any other error as it is. */
export function asGone(id: string, error: unknown): unknown {
  if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) return error;
  const message = `What build ${id} left was removed to make room; its record is all that is kept.`;
  return new KilnError('GONE', message, { cause: error });
}
