import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import type { BuildRecord } from '../../src/model/build.ts';
import { openObservation } from '../../src/observe/observation.ts';
import { listen } from '../listen.ts';
import { failed, record } from '../simulated-builds.ts';

const at = (seconds: number): string => new Date(Date.UTC(2026, 10, 28) + 1000 * seconds).toISOString();
const ended: BuildRecord = {
  ...record,
  state: 'failed',
  verdict: failed,
  attempts: [{ number: 1, vm: 'vm-1', started: at(2), ended: null, seconds: null, error: null }],
  times: { queued: at(0), leased: at(2), contextReady: at(3), buildFinished: at(7), finished: at(8) },
};

type Value = { stringValue?: string };
type Span = {
  traceId: string;
  spanId: string;
  parentSpanId?: string;
  name: string;
  startTimeUnixNano: string;
  endTimeUnixNano: string;
  attributes: { key: string; value: Value }[];
  status: { code?: number; message?: string };
};
type Received = {
  path: string | undefined;
  body: {
    resourceSpans: {
      resource: { attributes: { key: string; value: Value }[] };
      scopeSpans: { spans: Span[] }[];
    }[];
  };
};

/** A receiver of OTLP over HTTP that keeps what it gets. */
async function openReceiver(): Promise<AsyncDisposable & { url: string; received: Received[] }> {
  const received: Received[] = [];
  const server = createServer((request, response) => {
    void text(request).then((body) => {
      received.push({ path: request.url, body: JSON.parse(body) });
      response.writeHead(200, { 'Content-Type': 'application/json' }).end('{}');
    });
  });
  const listening = await listen(server);
  return {
    url: `http://127.0.0.1:${listening.port}/v1/traces`,
    received,
    [Symbol.asyncDispose]: () => listening[Symbol.asyncDispose](),
  };
}

test('a build is told of as a span of the trace that its request named, with its phases, to a real receiver of OTLP', async () => {
  await using receiver = await openReceiver();
  {
    await using observation = await openObservation({ url: receiver.url, serviceName: 'kiln-test' });
    observation.observer.buildEnded(ended);
    assert.match((await observation.metrics.read()).text, /^kiln_builds_total\{.*state="failed"/m);
  }
  const [{ path, body } = assert.fail('nothing came')] = receiver.received;
  assert.equal(path, '/v1/traces');
  const [resource = assert.fail()] = body.resourceSpans;
  assert.equal(
    resource.resource.attributes.find(({ key }) => key === 'service.name')?.value.stringValue,
    'kiln-test',
  );
  const spans = resource.scopeSpans.flatMap(({ spans }) => spans);
  const build = spans.find(({ name }) => name === 'build') ?? assert.fail();
  const [, traceId, parentSpanId] = record.traceparent?.split('-') ?? [];
  assert.deepEqual([build.traceId, build.parentSpanId, build.status.code], [traceId, parentSpanId, 2]);
  assert.equal(build.attributes.find(({ key }) => key === 'kiln.build')?.value.stringValue, record.id);
  const phases = spans.filter(({ parentSpanId: parent }) => parent === build.spanId);
  const seconds = (nanos: string): number =>
    Number((BigInt(nanos) - BigInt(Date.parse(at(0))) * 1_000_000n) / 1_000_000_000n);
  assert.deepEqual(
    phases.map(({ name, startTimeUnixNano: start, endTimeUnixNano: end }) => [
      name,
      seconds(start),
      seconds(end),
    ]),
    [
      ['queue', 0, 2],
      ['lease', 2, 3],
      ['run', 3, 7],
      ['artifact', 7, 8],
    ],
  );
  assert.ok(spans.every((span) => span.traceId === traceId));
});

test('a build whose request named no trace begins one; what it is told to leave out is left out', async () => {
  await using receiver = await openReceiver();
  {
    await using observation = await openObservation({ url: receiver.url, serviceName: 'kiln' });
    observation.observer.buildEnded({ ...ended, traceparent: null });
    const unsampled = `${record.traceparent?.slice(0, -2)}00`;
    observation.observer.buildEnded({ ...ended, traceparent: unsampled });
  }
  const spans = receiver.received.flatMap(({ body }) =>
    body.resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap(({ spans }) => spans)),
  );
  assert.equal(spans.filter(({ name }) => name === 'build').length, 1);
  assert.equal(spans.find(({ name }) => name === 'build')?.parentSpanId, undefined);
});

test('without a receiver nothing is sent; one that does not answer holds up no end', async () => {
  await using _none = await openObservation(null);
  const server = createServer(() => undefined);
  await using silent = await listen(server);
  const asked = once(server, 'request');
  {
    await using observation = await openObservation({
      ...{ url: `http://127.0.0.1:${silent.port}/v1/traces`, serviceName: 'kiln' },
    });
    observation.observer.buildEnded(ended);
  }
  await asked;
});
