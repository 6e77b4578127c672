import type { RouteConfig } from '@asteasolutions/zod-to-openapi';
import { z } from 'zod';
import type { Role } from '../../model/caller.ts';
import { type ErrorCode, errorKinds } from '../../model/error.ts';
import { archiveTypes } from '../upload/archive-types.ts';
import { type FieldInfo, fieldInfos } from '../upload/fields.ts';
import { secretInfos } from '../upload/secret-parts.ts';
import { catalogSchema } from './catalog-schema.ts';
import { probeSchema, versionSchema } from './probe-schemas.ts';
import { buildHeaders, listQuery, logQuery, rangeQuery } from './queries.ts';
import { eventSchema, matrixSchema, pageSchema, recordSchema } from './schemas.ts';

export type RouteDescription = Pick<
  RouteConfig,
  'method' | 'path' | 'summary' | 'description' | 'request'
> & {
  readonly id: string;
  /** Least role of the token; null where anybody may ask. */
  readonly role: Role | null;
  readonly query?: z.ZodObject;
  readonly errors: readonly ErrorCode[];
  readonly responses: RouteConfig['responses'];
};

/** What any request may be answered. */
export const always: readonly ErrorCode[] = [
  ...(['REQUEST_INVALID', 'HOST_NOT_ALLOWED', 'ORIGIN_NOT_ALLOWED', 'METHOD_NOT_ALLOWED'] as const),
  ...(['UPLOAD_TIMEOUT', 'INTERNAL'] as const),
];
const ofBuild: ErrorCode[] = [...always, 'NOT_FOUND'];

/** What comes of an upload: everything about the archive, the form and the state of the service. */
const ofUpload = (Object.keys(errorKinds) as ErrorCode[]).filter((code) =>
  /^(ENTRY|ARCHIVE|HARDLINK|DOCKER|FRONTEND|OCI|CONTENT|FILE|MULTIPART|PARAM|REF|PLATFORM|REGISTRY_FORBIDDEN|SECRET_INVALID|BUILDKIT|UPLOAD|NO_CAPACITY|DRAINING|STORAGE|IDEMPOTENCY)/.test(
    code,
  ),
);

export function describeRoutes(): readonly RouteDescription[] {
  return [
    describePost('/build', 'build'),
    describePost('/v1/builds', 'createBuild'),
    {
      ...{ id: 'listBuilds', method: 'get', path: '/v1/builds', role: 'read' },
      summary: "The builds of the token's tenant, newest first",
      query: listQuery,
      errors: [...always, 'PARAM_INVALID'],
      responses: { 200: json('A page; the Link header has the next.', pageSchema) },
    },
    {
      ...{ id: 'getBuild', method: 'get', path: '/v1/builds/{id}', role: 'read' },
      summary: 'The record of a build',
      errors: ofBuild,
      responses: { 200: json('The record.', recordSchema) },
    },
    {
      ...{ id: 'cancelBuild', method: 'delete', path: '/v1/builds/{id}', role: 'build' },
      summary: 'Cancel a build; answers when its VM is gone',
      errors: [...ofBuild, 'BUILD_TERMINAL', 'STORAGE_FULL', 'DRAINING'],
      responses: { 200: json('The record.', recordSchema) },
    },
    {
      ...{ id: 'getLog', method: 'get', path: '/v1/builds/{id}/log', role: 'read' },
      summary: 'The plain log',
      description:
        'Of one attempt: with follow it ends with that one, which another may follow; the events tell.',
      query: logQuery,
      errors: [...ofBuild, 'GONE', 'OFFSET_INVALID', 'PARAM_INVALID', 'OUT_OF_RANGE'],
      responses: {
        200: text('The bytes of buildctl, exactly, but for `***` in place of secrets.', 'text/plain'),
      },
    },
    {
      ...{ id: 'getEvents', method: 'get', path: '/v1/builds/{id}/events', role: 'read' },
      summary: 'The events',
      description: resumable,
      query: rangeQuery,
      errors: [...ofBuild, 'GONE', 'OFFSET_INVALID', 'PARAM_INVALID', 'OUT_OF_RANGE'],
      responses: {
        200: { description: 'One event a line, or each as a server-sent event.', content: events },
        204: { description: 'The build has ended and every event was sent.' },
      },
    },
    {
      ...{ id: 'getArtifact', method: 'get', path: '/v1/builds/{id}/artifact', role: 'read' },
      summary: 'What the build put out',
      description: 'Range, If-Range and If-None-Match are served; the ETag is the digest.',
      errors: [...ofBuild, 'NOT_READY', 'GONE', 'OUT_OF_RANGE'],
      responses: {
        200: text('A tar.', 'application/x-tar'),
        206: text('A part of it.', 'application/x-tar'),
        304: { description: 'The file is the one asked about.' },
      },
    },
    {
      ...{ id: 'getMatrix', method: 'get', path: '/v1/matrices/{id}', role: 'read' },
      summary: 'A matrix: the builds of one upload by several archive entries',
      errors: ofBuild,
      responses: { 200: json('The matrix as it is now.', matrixSchema) },
    },
    {
      ...{ id: 'cancelMatrix', method: 'delete', path: '/v1/matrices/{id}', role: 'build' },
      summary: 'Cancel the builds of a matrix that have not ended',
      errors: [...ofBuild, 'BUILD_TERMINAL', 'STORAGE_FULL', 'DRAINING'],
      responses: { 200: json('The matrix.', matrixSchema) },
    },
    {
      ...{ id: 'livez', method: 'get', path: '/livez', role: null, summary: 'Whether the process is alive' },
      errors: always,
      responses: { 200: json('It is.', z.strictObject({ alive: z.literal(true) })) },
    },
    {
      ...{ id: 'readyz', method: 'get', path: '/readyz', role: null, summary: 'Whether a build can run now' },
      description: 'Where a token is needed, a caller without one is told `ready` alone.',
      errors: always,
      responses: {
        200: json('It can.', probeSchema),
        503: json('Not yet; `reason` says why.', probeSchema),
      },
    },
    {
      ...{ id: 'catalog', method: 'get', path: '/catalog', role: 'read' },
      summary: 'The archive entries to build with, and what this host has of each',
      errors: always,
      responses: { 200: json('The catalog.', catalogSchema) },
    },
    {
      ...{ id: 'metrics', method: 'get', path: '/metrics', role: 'read' },
      summary: 'What Prometheus collects',
      description:
        'Of the whole service: the line, VMs, leases, builds and where their time went, bytes, connections of builds, operations, the process. No label names a build, a tenant or a host. Open to this machine while there are no tokens; then a token of any role reads it.',
      errors: always,
      responses: { 200: text('The text format of Prometheus, version 0.0.4.', 'text/plain') },
    },
    {
      ...{ id: 'version', method: 'get', path: '/version', role: 'read', summary: 'What runs here' },
      errors: always,
      responses: { 200: json('Versions.', versionSchema) },
    },
  ];
}

/** Of events. */
export const resumable =
  'The id of a server-sent event is the offset to come back with; Last-Event-ID does so.';
export const events = {
  'application/x-ndjson': { schema: eventSchema },
  'text/event-stream': { schema: z.string() },
};
const file = (description: string) =>
  z.string().optional().meta({ type: 'string', format: 'binary', description });

function describePost(path: string, id: string): RouteDescription {
  const fields = fieldSchemas(fieldInfos);
  const form = z
    .object({
      ...fields,
      ...fieldSchemas(secretInfos),
      context: file('The archive: a zip, or a tar, as it is or compressed by gzip, bzip2, xz or zstd.'),
    })
    .meta({
      description:
        "Fields may also be in the URL, but for registry-config, secrets and ssh keys. `dockerfile` may be a file too: then it is the Dockerfile itself, and 'context' may be left out.",
    });
  const archive = { schema: z.string().meta({ format: 'binary' }) };
  return {
    ...{ id, method: 'post', path, role: 'build', summary: 'Build: the archive in, the plain log out' },
    description:
      'The log comes as it is printed; its last line says how the build ended. The answer of a build that did not succeed is cut off, so that curl exits with 18, unless on-failure=end. Leaving cancels the build, unless it has an Idempotency-Key. X-Request-Id, which every answer has, and traceparent are kept in the record.',
    query: z.object(fields),
    request: {
      headers: buildHeaders,
      body: {
        content: {
          'multipart/form-data': { schema: form },
          ...Object.fromEntries(archiveTypes.map((type) => [type, archive])),
        },
      },
    },
    errors: [...always, ...ofUpload],
    responses: {
      200: {
        description:
          'The log, or the events. X-Build-Id names the build; the trailers X-Build-State and X-Build-Exit-Code say how it ended. Where several entries are named, X-Matrix-Id names the matrix: each line begins with the version that it is of, each event has `entry` and `build`, and last comes a table, or an event `matrix`.',
        content: { 'text/plain': { schema: z.string() }, ...events },
      },
      202: json(
        'Accepted, with Prefer: respond-async or async=1: the record, or the matrix where several entries are named.',
        z.union([recordSchema, matrixSchema]),
      ),
    },
  };
}

function fieldSchemas(infos: Readonly<Record<string, FieldInfo>>): Record<string, z.ZodType> {
  return Object.fromEntries(
    Object.entries(infos).map(([name, { description, repeated }]) => [
      name,
      (repeated ? z.array(z.string()) : z.string()).optional().meta({ description }),
    ]),
  );
}

export function json(description: string, schema: z.ZodType) {
  return { description, content: { 'application/json': { schema } } };
}

export function text(description: string, type: string) {
  return { description, content: { [type]: { schema: z.string() } } };
}
