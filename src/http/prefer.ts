import type { Request } from 'express';

/** Whether the client wants to be answered before the work is done (RFC 7240). */
export function prefersAsync({ headers }: Request): boolean {
  const preferences = [headers['prefer'] ?? []].flat().join(',').split(',');
  return preferences.some((preference) => preference.split(';')[0]?.trim().toLowerCase() === 'respond-async');
}
