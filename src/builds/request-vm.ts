import type { VmRequest } from '../scheduler/vm-request.ts';
import type { Journal } from './journal.ts';

/** What a build asks the scheduler for; its places in the line become events. */
export function requestFor(journal: Journal, signal: AbortSignal): VmRequest {
  return {
    entry: journal.record.entry.name,
    tenant: journal.record.tenant,
    signal,
    onPlace: (place) => journal.mention({ type: 'queued', place }),
  };
}
