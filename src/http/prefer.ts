import type { Request, Response } from 'express';
import type { BuildRecord } from '../model/build.ts';
import type { Matrix } from '../model/matrix.ts';
import type { Operation } from '../model/operation.ts';

/** Whether the client wants to be answered before the work is done (RFC 7240). */
export function prefersAsync({ headers }: Request): boolean {
  const preferences = [headers['prefer'] ?? []].flat().join(',').split(',');
  return preferences.some((preference) => preference.split(';')[0]?.trim().toLowerCase() === 'respond-async');
}

/** Answers with what was begun and goes on by itself. */
export function sendAccepted(
  request: Request,
  response: Response,
  accepted: BuildRecord | Matrix | Operation,
): void {
  if (prefersAsync(request)) response.set('Preference-Applied', 'respond-async');
  response.status(202).json(accepted);
}
