import type { Request } from 'express';

/** The id in the request's path. */
export function idOf(request: Request): string {
  return String(request.params['id']);
}
