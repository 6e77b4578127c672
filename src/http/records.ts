import type { Builds } from '../model/builds.ts';
import { listQuery } from './docs/queries.ts';
import { idOf } from './id-of.ts';
import { readQuery } from './query.ts';
import type { HttpSettings } from './settings.ts';
import type { CallerHandler } from './with-caller.ts';

export type RecordEdge = { readonly builds: Builds; readonly settings: HttpSettings };

export function listBuilds({ builds }: RecordEdge): CallerHandler {
  return async (caller, request, response) => {
    const { limit, cursor } = readQuery(listQuery, request.query);
    const page = await builds.list(caller, { limit, ...(cursor !== undefined && { before: cursor }) });
    const last = page.builds.at(-1);
    if (last && page.more) response.set('Link', `</v1/builds?limit=${limit}&cursor=${last.id}>; rel="next"`);
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
