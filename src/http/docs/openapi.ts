import { OpenAPIRegistry, OpenApiGeneratorV31, type RouteConfig } from '@asteasolutions/zod-to-openapi';
import { z } from 'zod';
import manifest from '../../../package.json' with { type: 'json' };
import type { Role } from '../../model/caller.ts';
import { type ErrorCode, errorKinds } from '../../model/error.ts';
import { statusOfKind } from '../error-table.ts';
import { describeRoutes, type RouteDescription } from './openapi-routes.ts';
import { describeOperationRoutes } from './operation-routes.ts';
import { problemSchema } from './schemas.ts';

/** The API document, from the schemas that validate. */
export function createOpenApiDocument(): object {
  const registry = new OpenAPIRegistry();
  const token = registry.registerComponent('securitySchemes', 'token', {
    type: 'http',
    scheme: 'bearer',
    description:
      'Made by `npm run kiln -- token create`; not needed while none was ever made. Each operation names the least role it takes: read, build, admin.',
  });
  for (const route of [...describeRoutes(), ...describeOperationRoutes()])
    registry.registerPath(toRouteConfig(route, token.name));
  return new OpenApiGeneratorV31(registry.definitions).generateDocument({
    openapi: '3.1.0',
    info: {
      title: 'kiln',
      version: manifest.version,
      description: 'Builds Dockerfiles with an exact BuildKit, each in a virtual machine of its own.',
    },
  });
}

/** What an address is about: its chapter in the document, and what its id is of. */
const subjects = [
  { paths: /^\/(v1\/)?build/, tag: 'Builds', about: 'build' },
  { paths: /^\/v1\/matrices/, tag: 'Matrices', about: 'matrix' },
  { paths: /^\/(admin|catalog)/, tag: 'Images', about: 'operation' },
];
/** All else; no address of it has an id. */
const service = { tag: 'Service', about: '' };

function toRouteConfig(
  { id, role, query, errors, responses, path, ...route }: RouteDescription,
  scheme: string,
): RouteConfig {
  const hasId = path.includes('{id}');
  const { tag, about } = subjects.find(({ paths }) => paths.test(path)) ?? service;
  return {
    ...route,
    path,
    operationId: id,
    ...(role && { security: [{ [scheme]: [role] }, {}] }),
    tags: [tag],
    request: {
      ...(hasId && { params: z.object({ id: z.string().meta({ description: `Id of the ${about}.` }) }) }),
      ...(query && { query }),
      ...route.request,
    },
    responses: { ...describeErrors([...errors, ...errorsOfRole(role)]), ...responses },
  };
}

function errorsOfRole(role: Role | null): readonly ErrorCode[] {
  if (role === null) return [];
  return [
    'TOKEN_MISSING',
    'TOKEN_INVALID',
    'TLS_REQUIRED',
    ...(role === 'read' ? [] : (['ROLE_TOO_LOW'] as const)),
  ];
}

/** One response a status, naming the codes it may have. */
function describeErrors(codes: readonly ErrorCode[]): RouteConfig['responses'] {
  const statuses = Map.groupBy(codes, (code) => statusOfKind[errorKinds[code]]);
  return Object.fromEntries(
    [...statuses].map(([status, ofStatus]) => [
      status,
      {
        description: ofStatus.join(', '),
        content: { 'application/problem+json': { schema: problemSchema } },
      },
    ]),
  );
}
