import { printable } from '../lib/text.ts';
import { type ErrorKind, errorKinds, KilnError } from '../model/error.ts';

/** Kinds of errors that are about what was sent. */
const aboutArchives: readonly ErrorKind[] = ['unprocessable', 'too-large', 'unsupported-media'];

/** What is refused of a named context is told with its name; the build's own, `null`, has none. */
export async function ofContext<T>(name: string | null, work: () => Promise<T>): Promise<T> {
  if (name === null) return work();
  try {
    return await work();
  } catch (thrown) {
    const error = KilnError.from(thrown);
    if (!aboutArchives.includes(errorKinds[error.code])) throw error;
    const { code, message, details } = error;
    throw new KilnError(code, `Context '${printable(name)}': ${message}`, { cause: error, details });
  }
}
