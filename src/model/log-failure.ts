import type { Logger } from '../lib/logger.ts';
import { isOurs, type KilnError } from './error.ts';

/**
 * Says in the service's log that a request failed, whichever door it came through. The one place that decides how loudly: what is ours is an
 * error and has every cause; what was refused, or let go of by a client, was expected and is no more than a line.
 */
export function logFailure(logger: Logger, request: object, error: KilnError): void {
  const fields = { ...request, code: error.code };
  if (isOurs(error.code)) logger.error({ ...fields, error }, error.message);
  else logger.info(fields, error.message);
}
