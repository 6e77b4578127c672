import assert from 'node:assert/strict';
import { test } from 'node:test';
import { z } from 'zod';
import { createRoutes } from '../../src/http/app.ts';
import { renderErrorPage } from '../../src/http/docs/error-page.ts';
import { errorSentences } from '../../src/http/docs/error-sentences.ts';
import { createOpenApiDocument } from '../../src/http/docs/openapi.ts';
import { completeSettings } from '../../src/http/settings.ts';
import { secretInfos } from '../../src/http/upload/secret-parts.ts';
import { errorKinds } from '../../src/model/error.ts';
import type { Operations } from '../../src/model/operations.ts';
import { endless, everyEvent, record, simulateBuilds } from '../simulated-builds.ts';
import { readiness } from '../simulated-service.ts';
import { archive, serve } from './harness.ts';

type Operation = {
  operationId: string;
  summary: string;
  parameters?: { name: string; in: string }[];
  requestBody?: { content: Record<string, unknown> };
  responses: Record<string, { description: string; content?: Record<string, { schema: object }> }>;
};
type Document = {
  openapi: string;
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, object> };
};

const document = JSON.parse(JSON.stringify(createOpenApiDocument())) as Document;
const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ path, method, ...operation })),
);

test('the document has every route of the application and no other', () => {
  const settings = completeSettings({ hosts: [], uploadMaxBytes: 1 });
  const logger = { info() {}, warn() {}, error() {} };
  const routes = createRoutes({
    builds: simulateBuilds({ staging: '/nowhere' }),
    operations: {} as Operations,
    authenticate: () => assert.fail('nobody calls'),
    metrics: { read: () => assert.fail('nobody asks') },
    ...{ settings, logger },
  });
  const served = Object.entries(routes).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method} ${path.replace(':id', '{id}')}`),
  );
  assert.deepEqual(operations.map(({ method, path }) => `${method} ${path}`).sort(), served.sort());
});

test('the document is well formed: references, parameters and operation ids', () => {
  assert.match(document.openapi, /^3\.1\./);
  const text = JSON.stringify(document);
  for (const [, name = ''] of text.matchAll(/"\$ref":"#\/components\/schemas\/([^"]+)"/g))
    assert.ok(Object.hasOwn(document.components.schemas, name), name);
  assert.doesNotMatch(text, /"\$ref":"(?!#\/components\/schemas\/)/);
  assert.equal(new Set(operations.map(({ operationId }) => operationId)).size, operations.length);
  for (const { path, summary, parameters = [], responses } of operations) {
    assert.ok(summary.length > 0, path);
    const inPath = parameters.filter((parameter) => parameter.in === 'path').map(({ name }) => name);
    assert.deepEqual(inPath, path.includes('{id}') ? ['id'] : [], path);
    assert.ok(
      Object.keys(responses).some((status) => status.startsWith('2')),
      path,
    );
  }
});

test('what is cancelled while the service stops may outlive it, which the document says', () => {
  const cancels = operations.filter(({ operationId }) => /^cancel(Build|Matrix)$/.test(operationId));
  assert.equal(cancels.length, 2);
  for (const { responses } of cancels) assert.match(responses['503']?.description ?? '', /DRAINING/);
});

test('the document and its pages name every code a request can get', () => {
  const named = new Set(
    operations.flatMap(({ responses }) =>
      Object.values(responses).flatMap(({ content, description }) =>
        content && 'application/problem+json' in content ? description.split(', ') : [],
      ),
    ),
  );
  // Verdicts of builds and operations, of the process or of gRPC, and what nobody is there to read.
  const elsewhere = [
    ...[
      'ARTIFACT_INVALID',
      'CANARY_FAILED',
      'CANCELLED',
      'CLIENT_GONE',
      'CONFIG_INVALID',
      'DIGEST_MISMATCH',
      'DISK_FULL',
      'EVIDENCE_INVALID',
      'INFRA',
      'LOG_TOO_LARGE',
    ],
    ...[
      'REGISTRY_AUTH',
      'REGISTRY_REFUSED',
      'REGISTRY_UNAVAILABLE',
      'REQUIREMENT_MISSING',
      'SECRETS_LOST',
      'STREAM_PROTOCOL',
      'TIMEOUT',
      'TRANSFER_STALLED',
      'VIRTUALIZATION_UNAVAILABLE',
    ],
  ];
  assert.deepEqual([...named, ...elsewhere].sort(), Object.keys(errorKinds).sort());
  const page = renderErrorPage();
  for (const [code, sentence] of Object.entries(errorSentences)) {
    assert.ok(page.includes(`<h2 id="${code}">`), code);
    assert.match(sentence, /^[A-Z][^<>]*[.]$/, code);
  }
  assert.deepEqual(Object.keys(errorSentences).sort(), Object.keys(errorKinds).sort());
});

test('the fields of the form and of the URL are the same but for secrets, and the spec explains them', () => {
  for (const { parameters = [], requestBody, path } of operations.filter(
    ({ operationId }) => operationId === 'build' || operationId === 'createBuild',
  )) {
    const content = requestBody?.content['multipart/form-data'] as { schema: { properties: object } };
    const { context, ...fields } = content.schema.properties as Record<string, { description?: string }>;
    assert.ok(context, path);
    const headers = ['Idempotency-Key', 'X-Registry-Config'];
    const inUrl = parameters.map(({ name }) => name).filter((name) => !headers.includes(name));
    assert.deepEqual([...inUrl, ...Object.keys(secretInfos)].sort(), Object.keys(fields).sort());
    assert.equal(parameters.length, inUrl.length + headers.length);
    for (const [name, { description = '' }] of Object.entries(fields))
      assert.ok(description.length > 10, name);
  }
});

/** The schema of a response as a validator of its own, made from nothing but the document. */
function validator(path: string, method: string, status: number, type = 'application/json'): z.ZodType {
  const schema = document.paths[path]?.[method]?.responses[String(status)]?.content?.[type]?.schema;
  assert.ok(schema, `${method} ${path} ${status} ${type}`);
  const resolved = { ...schema, $defs: document.components.schemas };
  return z.fromJSONSchema(
    JSON.parse(JSON.stringify(resolved).replaceAll('#/components/schemas/', '#/$defs/')),
  );
}

test('answers are what the document says (simulated builds)', async () => {
  await using harness = await serve();
  const id = `/v1/builds/${record.id}`;
  const json = async (path: string): Promise<unknown> => (await harness.api.get(path)).body;
  validator('/v1/builds', 'get', 200).parse(await json('/v1/builds'));
  validator('/v1/builds/{id}', 'get', 200).parse(await json(id));
  await using running = await serve({ script: (signal) => endless([], signal) });
  validator('/v1/builds/{id}', 'delete', 200).parse((await running.api.delete(id)).body);
  for (const path of ['/livez', '/readyz', '/version', '/catalog'])
    validator(path, 'get', 200).parse(await json(path));
  validator('/readyz', 'get', 503).parse(readiness(false));
  const accepted = await harness.api.post('/build?async=1').attach('context', archive, 'ctx.tar');
  validator('/build', 'post', 202).parse(accepted.body);
  const problem = validator('/build', 'post', 400, 'application/problem+json');
  problem.parse((await harness.api.post('/build').field('target', 'a')).body);
  const event = validator('/v1/builds/{id}/events', 'get', 200, 'application/x-ndjson');
  const lines = (await harness.api.get(`${id}/events`)).text.trimEnd().split('\n');
  assert.equal(lines.length, everyEvent.filter(({ kind }) => kind === 'event').length);
  for (const line of lines) event.parse(JSON.parse(line));
});

test('the validator made of the document refuses what is not in it', () => {
  const validate = validator('/v1/builds/{id}', 'get', 200);
  assert.ok(validate.safeParse(record).success);
  for (const wrong of [{ ...record, state: 'odd' }, { ...record, more: 1 }, { ...record, vm: 1 }, {}])
    assert.equal(validate.safeParse(wrong).success, false, JSON.stringify(wrong));
});

test('the pages come whole from the service and allow nothing else (simulated builds)', async () => {
  await using harness = await serve();
  const page = await harness.api.get('/docs');
  const links = [...page.text.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, path = '']) => path);
  assert.ok(links.length >= 4);
  for (const path of links) {
    assert.match(path, /^\/docs\//);
    await harness.api.get(path).expect(200);
  }
  assert.doesNotMatch(page.text, /<script>|style=|onload=/);
  const policy = String(page.headers['content-security-policy']);
  assert.match(policy, /default-src 'none';script-src 'self'/);
  assert.doesNotMatch(policy, /upgrade-insecure-requests|https?:/);
  const { text } = await harness.api.get('/').expect(200);
  assert.ok(text.includes(`curl -N --fail-with-body -F context=@- ${harness.url}/build`), text);
  await harness.api.get('/docs/errors').expect(200);
});
