import type { RequestHandler } from 'express';
import manifest from '../../package.json' with { type: 'json' };
import type { Builds } from '../model/builds.ts';
import type { CallerHandler } from './with-caller.ts';

/** Whether a build can run now: 503 until it can. */
export function getReadiness(builds: Builds): RequestHandler {
  return (_request, response) => {
    const readiness = builds.readiness();
    response.status(readiness.ready ? 200 : 503).json(readiness);
  };
}

/** Every archive entry, and what this host has of it. */
export function getCatalog(builds: Builds): CallerHandler {
  return async (caller, _request, response) => void response.json({ entries: await builds.catalog(caller) });
}

export function getVersion(builds: Builds): CallerHandler {
  const { name, version } = manifest;
  return (_caller, _request, response) =>
    void response.json({ name, version, entry: builds.readiness().entry });
}
