import { KilnError } from '../model/error.ts';

/** A build takes some seconds at least: when to come back to a full line. */
const retryAfterSeconds = 10;

export function fullLine(waiting: number): KilnError {
  const message = `${waiting} builds are waiting already; try again in ${retryAfterSeconds} seconds.`;
  return new KilnError('NO_CAPACITY', message, { details: { retryAfterSeconds } });
}

export function fullForTenant(own: number): KilnError {
  const message = `${own} builds of your tenant are waiting already; try again in ${retryAfterSeconds} seconds.`;
  return new KilnError('NO_CAPACITY', message, { details: { retryAfterSeconds } });
}

export function stopping(): KilnError {
  return new KilnError('DRAINING', 'The service is stopping; send the build again in a moment.');
}
