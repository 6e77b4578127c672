import { OpenAPIRegistry, OpenApiGeneratorV31 } from '@asteasolutions/zod-to-openapi';
import { z } from 'zod';
import { buildStates, phases, terminalStates } from '../model/build.ts';
import { errorKinds } from '../model/error.ts';
import { specSchema } from '../model/spec.ts';
import { knownFields } from './fields.ts';

const digest = z.string().regex(/^sha256:[0-9a-f]{64}$/);
const time = z.iso.datetime().nullable();
const egress = z.object({
  host: z.string(),
  port: z.number().int(),
  address: z.string().nullable(),
  allowed: z.boolean(),
  connections: z.number().int(),
});
const verdict = z.object({
  state: z.enum(terminalStates),
  exitCode: z.number().int().nullable(),
  code: z.string().nullable(),
  message: z.string(),
});

/** What `GET /v1/builds/:id` answers; a test holds real answers against it. */
export const recordSchema = z.strictObject({
  id: z.uuid(),
  state: z.enum(buildStates),
  spec: specSchema,
  verdict: verdict.nullable(),
  times: z.strictObject(Object.fromEntries(phases.map((phase) => [phase, time]))),
  vm: z.object({ id: z.string(), accelerator: z.enum(['kvm', 'tcg']) }).nullable(),
  entry: z.object({ name: z.string(), imageDigest: digest, versions: z.record(z.string(), z.string()) }),
  context: z
    .object({ digest, size: z.number().int(), entries: z.number().int(), warnings: z.array(z.string()) })
    .nullable(),
  imageDigest: digest.nullable(),
  artifact: z
    .object({ format: z.enum(['docker', 'oci', 'local']), digest, size: z.number().int() })
    .nullable(),
  egress: z.array(egress),
});

const problemSchema = z.object({
  type: z.string(),
  title: z.string(),
  status: z.number().int(),
  code: z.enum(Object.keys(errorKinds) as [string, ...string[]]),
  detail: z.string(),
  entry: z.string().optional(),
  limit: z.number().optional(),
  requestId: z.string(),
});

/** The API document, from the schemas that validate. */
export function createOpenApiDocument(): object {
  const registry = new OpenAPIRegistry();
  const record = recordSchema.meta({ id: 'Build' });
  const problem = problemSchema.meta({ id: 'Problem' });
  const failed = {
    description: 'Refused or failed',
    content: { 'application/problem+json': { schema: problem } },
  };
  const id = { params: z.object({ id: z.uuid() }) };
  const asRecord = {
    200: { description: 'The record', content: { 'application/json': { schema: record } } },
    default: failed,
  };
  const text = (description: string, type: string) => ({
    200: { description, content: { [type]: { schema: z.string() } } },
    default: failed,
  });
  const form = z.object({
    context: z
      .string()
      .optional()
      .meta({ format: 'binary', description: 'The archive: tar, tar.gz or zip.' }),
    ...Object.fromEntries(knownFields.map((name) => [name, z.string().optional()])),
  });
  const range = z.object({ offset: z.string().optional(), follow: z.enum(['true', 'false']).optional() });

  registry.registerPath({
    method: 'post',
    path: '/build',
    summary:
      'Build: the archive in, the plain log out. A failed build cuts the answer (curl exits with 18) unless on-failure=end.',
    request: {
      query: z.object(Object.fromEntries(knownFields.map((name) => [name, z.string().optional()]))),
      body: {
        content: {
          'multipart/form-data': { schema: form },
          'application/x-tar': { schema: z.string().meta({ format: 'binary' }) },
        },
      },
    },
    responses: {
      ...text('The log as it is printed; the last line is the verdict.', 'text/plain'),
      202: {
        description: 'Accepted (Prefer: respond-async)',
        content: { 'application/json': { schema: record } },
      },
    },
  });
  registry.registerPath({
    method: 'get',
    path: '/v1/builds',
    summary: 'Builds, newest first',
    request: { query: z.object({ limit: z.string().optional(), cursor: z.string().optional() }) },
    responses: {
      200: {
        description: 'A page; Link says the next',
        content: { 'application/json': { schema: z.object({ builds: z.array(record) }) } },
      },
      default: failed,
    },
  });
  registry.registerPath({
    method: 'get',
    path: '/v1/builds/{id}',
    summary: 'The record of a build',
    request: id,
    responses: asRecord,
  });
  registry.registerPath({
    method: 'delete',
    path: '/v1/builds/{id}',
    summary: 'Cancel a build; answers when its VM is gone',
    request: id,
    responses: asRecord,
  });
  registry.registerPath({
    method: 'get',
    path: '/v1/builds/{id}/log',
    summary: 'The plain log from an offset',
    request: { ...id, query: range },
    responses: text('Exactly the bytes of buildctl', 'text/plain'),
  });
  registry.registerPath({
    method: 'get',
    path: '/v1/builds/{id}/events',
    summary: 'The events from an offset',
    request: { ...id, query: range },
    responses: text('One event a line, or server-sent events', 'application/x-ndjson'),
  });
  registry.registerPath({
    method: 'get',
    path: '/v1/builds/{id}/artifact',
    summary: 'What the build put out, as a tar',
    request: id,
    responses: text('The tar', 'application/x-tar'),
  });
  registry.registerPath({
    method: 'get',
    path: '/readyz',
    summary: 'Whether a build can run now',
    responses: { 200: { description: 'Ready' }, 503: { description: 'Not ready; reason says why' } },
  });
  registry.registerPath({
    method: 'get',
    path: '/livez',
    summary: 'Whether the process is alive',
    responses: { 200: { description: 'Alive' } },
  });
  return new OpenApiGeneratorV31(registry.definitions).generateDocument({
    openapi: '3.1.0',
    info: {
      title: 'kiln',
      version: '1',
      description: 'Builds Dockerfiles with an exact BuildKit, each in a virtual machine of its own.',
    },
  });
}
