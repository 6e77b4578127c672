import { rebuildSchema } from '../../model/operation.ts';
import { always, events, json, type RouteDescription, resumable, text } from './openapi-routes.ts';
import { rangeQuery } from './queries.ts';
import {
  operationSchema,
  operationsSchema,
  prunedSchema,
  pruneSchema,
  rollBackSchema,
  servedSchema,
} from './schemas.ts';

const ofOperation = [...always, 'NOT_FOUND'] as const;
const ofBody = ['CONTENT_TYPE', 'BODY_INVALID', 'PARAM_INVALID'] as const;
const ofRebuild = ['BUILDKIT_UNKNOWN', 'REBUILD_RUNNING', 'VERSION_EXISTS', 'DRAINING'] as const;
const started = {
  200: text(
    'The log as it is printed; the last line and the trailer X-Build-State say how the operation ended. The answer of one that did not succeed is cut off, so that curl exits with 18. Location names the operation.',
    'text/plain',
  ),
  202: json('Begun, with Prefer: respond-async.', operationSchema),
};

/** What administrators do with the images of the host. */
export function describeOperationRoutes(): readonly RouteDescription[] {
  return [
    {
      ...{ id: 'rebuildImage', method: 'post', path: '/admin/images/rebuild', role: 'admin' },
      summary: 'Make the images of an entry anew, check them in a VM, and let builds run on them',
      description:
        'Its steps are ctr, vm, dqd, check, publish and roll; those that are not asked for are skipped. It goes on whoever leaves. Builds that run keep their VM; where a step fails nothing changes for any build. One at a time for each entry.',
      request: { body: { content: { 'application/json': { schema: rebuildSchema } } } },
      errors: [...always, ...ofBody, ...ofRebuild],
      responses: started,
    },
    {
      ...{ id: 'rollBackImage', method: 'post', path: '/admin/images/rollback', role: 'admin' },
      summary: 'Let builds of an entry run on the image before the present one',
      request: { body: { content: { 'application/json': { schema: rollBackSchema } } } },
      errors: [
        ...always,
        ...ofBody,
        'BUILDKIT_UNKNOWN',
        'REBUILD_RUNNING',
        'NO_PREVIOUS_IMAGE',
        'IMAGE_CORRUPT',
      ],
      responses: { 200: json('What builds run on now.', servedSchema) },
    },
    {
      ...{ id: 'prune', method: 'post', path: '/admin/prune', role: 'admin' },
      summary: 'Remove the images that rebuilds made and that nothing needs any more',
      description:
        'Kept are, of each entry, the images of the version that is served, of the one before it, and the first ones. An entry whose image is being changed is left alone.',
      request: { body: { content: { 'application/json': { schema: pruneSchema } } } },
      errors: [...always, ...ofBody],
      responses: { 200: json('What was removed, or would be.', prunedSchema) },
    },
    {
      ...{ id: 'listOperations', method: 'get', path: '/admin/operations', role: 'admin' },
      summary: 'The operations, newest first',
      errors: [...always],
      responses: { 200: json('All that are kept.', operationsSchema) },
    },
    {
      ...{ id: 'getOperation', method: 'get', path: '/admin/operations/{id}', role: 'admin' },
      summary: 'The record of an operation',
      errors: [...ofOperation],
      responses: { 200: json('The record.', operationSchema) },
    },
    {
      ...{ id: 'cancelOperation', method: 'delete', path: '/admin/operations/{id}', role: 'admin' },
      summary: 'Cancel an operation; answers when it has ended',
      errors: [...ofOperation, 'OPERATION_ENDED', 'STORAGE_FULL'],
      responses: { 200: json('The record.', operationSchema) },
    },
    {
      ...{ id: 'resumeOperation', method: 'post', path: '/admin/operations/{id}/resume', role: 'admin' },
      summary: 'The same again for one that did not succeed; what was made is in the caches',
      errors: [...ofOperation, ...ofRebuild, 'OPERATION_ENDED'],
      responses: started,
    },
    {
      ...{ id: 'getOperationSbom', method: 'get', path: '/admin/operations/{id}/sbom', role: 'admin' },
      summary: 'What is in the images that a rebuild made',
      description:
        'SPDX 2.3: the Debian packages, BuildKit, runc, Go and every module of their programs. It is attached to what is published, too.',
      errors: [...ofOperation],
      responses: { 200: text('The bill of materials.', 'application/spdx+json') },
    },
    {
      ...{
        id: 'getOperationProvenance',
        method: 'get',
        path: '/admin/operations/{id}/provenance',
        role: 'admin',
      },
      summary: 'How the images that a rebuild made came to be, signed by this installation',
      description:
        'A DSSE envelope of an in-toto statement with SLSA provenance v1: every file and image by its sha256, and what they were made of. `npm run kiln -- key` prints the key that it is checked by.',
      errors: [...ofOperation],
      responses: { 200: text('The envelope.', 'application/vnd.dsse.envelope.v1+json') },
    },
    {
      ...{ id: 'getOperationLog', method: 'get', path: '/admin/operations/{id}/log', role: 'admin' },
      summary: 'What its steps print',
      query: rangeQuery,
      errors: [...ofOperation, 'OFFSET_INVALID', 'PARAM_INVALID', 'OUT_OF_RANGE'],
      responses: { 200: text('The lines.', 'text/plain') },
    },
    {
      ...{ id: 'getOperationEvents', method: 'get', path: '/admin/operations/{id}/events', role: 'admin' },
      summary: 'Its steps as they begin and end, the verdict last',
      description: resumable,
      query: rangeQuery,
      errors: [...ofOperation, 'OFFSET_INVALID', 'PARAM_INVALID', 'OUT_OF_RANGE'],
      responses: { 200: { description: 'One event a line, or server-sent events.', content: events } },
    },
  ];
}
