import type { Builds } from '../model/builds.ts';
import { listQuery } from './docs/queries.ts';
import { idOf } from './id-of.ts';
import { readQuery } from './query.ts';
import type { HttpSettings } from './settings.ts';
import type { CallerHandler } from './with-caller.ts';

export type RecordEdge = { readonly builds: Builds; readonly settings: HttpSettings };

export function listBuilds({ builds }: RecordEdge): CallerHandler {
  return async (caller, request, response) => {
    const { cursor, state, ...asked } = readQuery(listQuery, request.query);
    const page = await builds.list(caller, { ...asked, states: state, before: cursor });
    const last = page.builds.at(-1);
    if (last && page.more) {
      // The next page is one of the same query.
      const next = new URLSearchParams({ ...(request.query as Record<string, string>), cursor: last.id });
      response.set('Link', `</v1/builds?${next.toString()}>; rel="next"`);
    }
    response.json({ builds: page.builds });
  };
}

export function getBuild({ builds }: RecordEdge): CallerHandler {
  return async (caller, request, response) => void response.json(await builds.get(caller, idOf(request)));
}

export function cancelBuild({ builds }: RecordEdge): CallerHandler {
  return async (caller, request, response) =>
    void response.json(await builds.cancel(caller, idOf(request), 'The build was cancelled.'));
}

export function getMatrix({ builds }: RecordEdge): CallerHandler {
  return async (caller, request, response) => void response.json(await builds.matrix(caller, idOf(request)));
}

export function cancelMatrix({ builds }: RecordEdge): CallerHandler {
  return async (caller, request, response) =>
    void response.json(await builds.cancelMatrix(caller, idOf(request), 'The matrix was cancelled.'));
}
