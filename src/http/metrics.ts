import { requireRole } from '../model/caller.ts';
import type { CallerHandler } from './with-caller.ts';

/** All metrics of the service, in a form that is said with its type. */
export type MetricsSource = { read(): Promise<{ readonly type: string; readonly text: string }> };

export type MetricsEdge = { readonly metrics: MetricsSource };

/** They are of the whole service, whichever tenant asks, and name none. */
export function getMetrics({ metrics }: MetricsEdge): CallerHandler {
  return async (caller, _request, response) => {
    requireRole(caller, 'read');
    const { type, text } = await metrics.read();
    response.set('Content-Type', type).end(text);
  };
}
