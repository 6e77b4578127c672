import { printable } from '../lib/text.ts';
import { type BuildState, buildStates } from '../model/build.ts';
import type { PageRequest } from '../model/build-filter.ts';
import type { BuildPage } from '../model/builds.ts';
import { KilnError } from '../model/error.ts';
import type { ListBuildsRequest, ListBuildsResponse } from './generated/kiln/v1/build_service.ts';
import { states, toBuildRecord } from './messages.ts';

const defaultPageSize = 20;
const maxPageSize = 100;

/** @throws KilnError PARAM_INVALID */
export function readListRequest(request: ListBuildsRequest): PageRequest {
  const { pageSize, pageToken, tag, since, until } = request;
  if (pageSize > maxPageSize) throw invalid('page_size', `must be at most ${maxPageSize}`);
  if (!/^[0-9a-f-]{0,36}$/.test(pageToken)) throw invalid('page_token', 'is none that a page ended with');
  for (const [name, time] of Object.entries({ since, until }))
    if (time !== undefined && Number.isNaN(time.getTime())) throw invalid(name, 'is no time');
  return {
    ...{ limit: pageSize || defaultPageSize, tag, since, until },
    states: request.states.length === 0 ? undefined : request.states.map(readState),
    before: pageToken || undefined,
  };
}

export function toListResponse({ builds, more }: BuildPage): ListBuildsResponse {
  const nextPageToken = more ? (builds.at(-1)?.id ?? '') : '';
  return { builds: builds.map(toBuildRecord), nextPageToken };
}

function readState(number: number): BuildState {
  const found = buildStates.find((state) => states[state] === number);
  if (found === undefined)
    throw invalid('states', `has ${printable(String(number))}, which is no state of a build`);
  return found;
}

function invalid(field: string, why: string): KilnError {
  return new KilnError('PARAM_INVALID', `Field '${field}' ${why}.`, { details: { field } });
}
