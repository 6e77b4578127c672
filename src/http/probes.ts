import type { RequestHandler } from 'express';
import manifest from '../../package.json' with { type: 'json' };
import type { Builds } from '../model/builds.ts';
import type { BuildEdge } from './build.ts';
import { type CallerHandler, credentialsOf } from './with-caller.ts';

/** Whether a build can run now: 503 until it can. More than that, such as why not, is told to callers alone: a probe has no token. */
export function getReadiness({ builds, authenticate }: BuildEdge): RequestHandler {
  return async (request, response) => {
    const isCaller = await authenticate(credentialsOf(request)).then(
      () => true,
      () => false,
    );
    const readiness = builds.readiness();
    const { ready } = readiness;
    response.status(ready ? 200 : 503).json(isCaller ? readiness : { ready });
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
