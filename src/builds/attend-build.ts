import type { Logger } from '../lib/logger.ts';
import type { Builds } from '../model/builds.ts';
import type { Caller } from '../model/caller.ts';
import { KilnError } from '../model/error.ts';

/** A client that waits for a build's end. Disposing it before that end cancels the build; it never rejects. */
export function attendBuild(
  caller: Caller,
  id: string,
  { cancel, logger }: Pick<Builds, 'cancel'> & { logger: Logger },
): AsyncDisposable {
  return {
    async [Symbol.asyncDispose]() {
      try {
        await cancel(caller, id, 'The client went away.');
      } catch (error) {
        // The usual end: the client waited until the build's, after which even its record may be removed; or the service stops.
        if (['BUILD_TERMINAL', 'NOT_FOUND', 'DRAINING'].includes(KilnError.from(error).code)) return;
        logger.error({ error, build: id }, 'a build whose client went away could not be cancelled');
      }
    },
  };
}
