import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KilnError } from '../../src/model/error.ts';
import type { WatchItem } from '../../src/model/event.ts';
import { parseSpec } from '../../src/model/spec.ts';
import {
  at,
  digest,
  endless,
  event,
  everyEvent,
  failed,
  log,
  record,
  succeeded,
  verdict,
} from '../simulated-builds.ts';
import { archive, curl, serve } from './harness.ts';

const said = /^kiln: build \S+ succeeded in 8\.1 s, after 1\.5 s in the queue\n$/;

test('a build streams its log and ends with verdict and trailers (simulated builds)', async () => {
  await using harness = await serve();
  const { exit, body, headers } = await curl(['-F', 'context=@-', `${harness.url}/build`], archive);
  assert.equal(exit, 0);
  assert.deepEqual(body.split('\n').slice(0, -2), [
    'kiln: warning: a and A differ only in case',
    `kiln: build ${record.id} waits for a VM, place 2 in the queue`,
    '#1 [internal] load',
    '#2 DONE 0.1s',
    `kiln: pushed registry.example.org/demo:1@${digest}`,
    'kiln: refused: db.lan:5432: not public; whoever runs this service can open it with KILN_EGRESS_ALLOW=db.lan:5432',
  ]);
  assert.match(`${body.split('\n').at(-2)}\n`, said);
  for (const header of [
    'HTTP/1.1 200 OK',
    'Content-Type: text/plain; charset=utf-8',
    `X-Build-Id: ${record.id}`,
    `Location: /v1/builds/${record.id}`,
    'Cache-Control: no-store',
    'X-Accel-Buffering: no',
    'X-Content-Type-Options: nosniff',
    'Trailer: X-Build-State, X-Build-Exit-Code',
    'X-Build-State: succeeded',
    'X-Build-Exit-Code: 0',
  ])
    assert.ok(headers.split('\r\n').includes(header), `${header} in:\n${headers}`);
});

test('every spelling of an upload starts the same build (simulated builds)', async () => {
  const fields = ['target=a', 'build-arg=A=1=2', 'build-arg=B=', 'label=x.y=z', 'no-cache=true', 'tag=demo'];
  const wanted = {
    dockerfile: 'Dockerfile',
    target: 'a',
    buildArgs: { A: '1=2', B: '' },
    labels: { 'x.y': 'z' },
    buildContexts: {},
    ...{ noCacheFilter: [], extraHosts: [], ulimits: [] },
    noCache: true,
    builtinFrontend: true,
    tags: ['demo', 'other:1'],
    outputs: parseSpec({ outputs: [{ type: 'oci' }] }).outputs,
    network: 'none',
    retry: 'infra',
    timeoutSeconds: 5400,
  };
  const more = ['builtin-frontend=true', 't=other:1', 'output=oci', 'network=none', 'timeout=1h30m'];
  const asForm = [...fields, ...more].flatMap((field) => ['-F', field]);
  const query = String(
    new URLSearchParams(
      [...fields, ...more].map((field) => {
        const [name = '', ...value] = field.split('=');
        return [name, value.join('=')] as [string, string];
      }),
    ),
  );
  const raw = (type: string): string[] => ['-H', `Content-Type: ${type}`, '--data-binary', '@-'];
  const uploads: Record<string, (url: string) => string[]> = {
    'fields before the file': (url) => [...asForm, '-F', 'context=@-', `${url}/build`],
    'fields after the file': (url) => ['-F', 'context=@-', ...asForm, `${url}/v1/builds`],
    'fields in the URL of a form': (url) => ['-F', 'context=@-', `${url}/build?${query}`],
    'the body as curl sends it': (url) => ['--data-binary', '@-', `${url}/build?${query}`],
    'the body as a tar': (url) => [...raw('application/x-tar'), `${url}/build?${query}`],
    'the body as bytes': (url) => [...raw('application/octet-stream'), `${url}/build?${query}`],
    'the body in chunks, without a type': (url) => ['-X', 'POST', '-T', '-', `${url}/build?${query}`],
  };
  await using harness = await serve();
  for (const [title, args] of Object.entries(uploads)) {
    const { exit, body } = await curl(args(harness.url), archive);
    assert.equal(exit, 0, `${title}: ${body}`);
    const started = harness.builds.started.pop();
    assert.deepEqual(started?.spec, wanted, title);
    assert.equal(started?.context?.summary?.entries, 1, title);
  }
});

test('a Dockerfile alone, or beside a context, reaches the build as it is (simulated builds)', async () => {
  await using harness = await serve();
  const upload = () =>
    harness.api.post('/build').attach('dockerfile', Buffer.from('FROM busybox\n'), 'Dockerfile');
  await upload().expect(200);
  await upload().attach('context', archive, 'ctx.tar').expect(200);
  const [alone, beside] = harness.builds.started;
  assert.equal(alone?.context, null);
  assert.equal(alone?.dockerfile?.toString(), 'FROM busybox\n');
  assert.equal(beside?.dockerfile?.toString(), 'FROM busybox\n');
  assert.equal(beside?.context?.summary?.entries, 1);
});

test('a failed build makes curl exit with 18 and loses no byte, run after run (simulated builds)', async () => {
  const block = `${'x'.repeat(1023)}\n`;
  const script: WatchItem[] = [
    ...Array.from({ length: 300 }, () => log(block)),
    log('open line'),
    verdict(failed),
  ];
  await using harness = await serve({ script });
  const shape =
    /open line\nkiln: refused: .*\nkiln: build \S+ failed after 8\.1 s and 1\.5 s in the queue: buildctl exited with 1\.\n$/;
  for (let run = 0; run < 40; run += 1) {
    const { exit, body, headers } = await curl(['-F', 'context=@-', `${harness.url}/build`], archive);
    assert.equal(exit, 18, `run ${run}: ${headers}`);
    assert.ok(body.startsWith(block.repeat(300)), `run ${run} lost a part of the log`);
    assert.match(body.slice(300 * block.length), shape);
  }
});

test('a slow reader of a failed build still gets its last line (simulated builds)', async () => {
  const script = [log(Buffer.alloc(16_000_000, 'x\n')), verdict(failed)];
  await using harness = await serve({ script });
  const args = ['--limit-rate', '10M', '-F', 'context=@-', `${harness.url}/build`];
  const { exit, body } = await curl(args, archive);
  assert.equal(exit, 18);
  assert.equal(body.indexOf('kiln:'), 16_000_000);
});

for (const [state, line, trailers] of [
  [
    'failed',
    /failed after 8\.1 s and 1\.5 s in the queue: buildctl exited with 1\.\n$/,
    /\r\n\r\nX-Build-State: failed\r\nX-Build-Exit-Code: 1\r\n/,
  ],
  [
    'cancelled',
    /cancelled after 8\.1 s and 1\.5 s in the queue: gone\n$/,
    /\r\n\r\nX-Build-State: cancelled\r\n(?!X-Build-Exit-Code)/,
  ],
] as const) {
  test(`on-failure=end ends the answer of a ${state} build whole, with trailers (simulated builds)`, async () => {
    const ending = state === 'failed' ? failed : { ...failed, state, exitCode: null, message: 'gone' };
    await using harness = await serve({ script: [log('#1 x\n'), verdict(ending)] });
    const args = ['--data-binary', '@-', `${harness.url}/build?on-failure=end`];
    const { exit, body, headers } = await curl(args, archive);
    assert.equal(exit, 0);
    assert.match(body, line);
    assert.match(headers, trailers);
  });
}

test('Accept: application/x-ndjson gives the events, one a line, and the same cut (simulated builds)', async () => {
  await using harness = await serve();
  const { text } = await harness.api
    .post('/build')
    .set('Accept', 'application/x-ndjson')
    .attach('context', archive, 'ctx.tar')
    .expect('Content-Type', 'application/x-ndjson');
  const events = everyEvent.filter((item) => item.kind === 'event').map((item) => item.event);
  assert.deepEqual(
    text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line)),
    events,
  );
  await using failing = await serve({ script: [log('#1 x\n'), verdict(failed)] });
  const accept = ['-H', 'Accept: application/x-ndjson', '-F', 'context=@-'];
  const { exit, body } = await curl([...accept, `${failing.url}/build`], archive);
  assert.equal(exit, 18);
  assert.equal(body, `${JSON.stringify({ at, type: 'verdict', verdict: failed })}\n`);
});

test('Accept: text/event-stream gives the events with their offsets as ids (simulated builds)', async () => {
  await using harness = await serve({
    script: [event({ type: 'queued', place: 1 }, 42), verdict(succeeded)],
  });
  const { text } = await harness.api
    .post('/build')
    .set('Accept', 'text/event-stream')
    .attach('context', archive, 'ctx.tar')
    .expect('Content-Type', 'text/event-stream; charset=utf-8');
  const [first, second] = text.split('\n\n');
  assert.equal(first, `id: 42\nevent: queued\ndata: {"at":"${at}","type":"queued","place":1}`);
  assert.match(second ?? '', /^id: 300\nevent: verdict\ndata: \{.*"state":"succeeded"/);
});

test('log bytes pass through as they are, whatever they are (simulated builds)', async () => {
  const bytes = Buffer.from(Array.from({ length: 256 }, (_, index) => index));
  await using harness = await serve({ script: [log(bytes), verdict(succeeded)] });
  const { body } = await harness.api
    .post('/build')
    .type('application/x-tar')
    .send(archive)
    .responseType('blob');
  assert.deepEqual(body.subarray(0, 256), bytes);
});

test('each piece of the log is sent when it comes (simulated builds)', async () => {
  const gates = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const script = async function* (): AsyncGenerator<WatchItem> {
    yield log('#1 one\n');
    await gates[0]?.promise;
    yield log('#2 two\n');
    await gates[1]?.promise;
    yield verdict(succeeded);
  };
  await using harness = await serve({ script });
  const response = await fetch(`${harness.url}/build`, { method: 'POST', body: archive });
  assert.equal(response.headers.get('x-build-id'), record.id);
  const decoder = new TextDecoder();
  const pieces: string[] = [];
  for await (const chunk of response.body ?? []) {
    pieces.push(decoder.decode(chunk));
    gates[pieces.length - 1]?.resolve();
  }
  assert.deepEqual(pieces.slice(0, 2), ['#1 one\n', '#2 two\n']);
});

for (const [title, query, headers, applied] of [
  ['Prefer: respond-async', '', { Prefer: 'wait=5, respond-async' }, 'respond-async'],
  ['?async=1', '?async=1', {}, undefined],
] as const) {
  test(`${title} answers 202 with the record, and leaving cancels nothing (simulated builds)`, async () => {
    await using harness = await serve({ script: (signal) => endless([], signal) });
    const answer = await harness.api
      .post(`/build${query}`)
      .set(headers)
      .attach('context', archive, 'ctx.tar')
      .expect('Location', `/v1/builds/${record.id}`)
      .expect(202, record);
    assert.equal(answer.get('Preference-Applied'), applied);
    await harness.server.close(0);
    assert.deepEqual(harness.builds.cancelled, []);
  });
}

test('a build that cannot be started says when to try again (simulated builds)', async () => {
  const full = new KilnError('NO_CAPACITY', 'Full.', { details: { retryAfterSeconds: 10 } });
  await using harness = await serve({ overrides: { start: () => Promise.reject(full) } });
  await harness.api
    .post('/build')
    .attach('context', archive, 'ctx.tar')
    .expect(503)
    .expect('Retry-After', '10');
});

test('HTTP/1.0 gets the log too, without trailers (simulated builds)', async () => {
  await using harness = await serve();
  const { exit, body } = await curl(['-0', '--data-binary', '@-', `${harness.url}/build`], archive);
  assert.equal(exit, 0);
  assert.match(body, /#2 DONE 0\.1s\nkiln: pushed .*\nkiln: refused: .*\nkiln: build \S+ succeeded/);
});

test('closing the server lets an answer that is ending end (simulated builds)', async () => {
  const end = Promise.withResolvers<void>();
  const script = async function* (): AsyncGenerator<WatchItem> {
    yield log('#1\n');
    await end.promise;
    yield verdict(succeeded);
  };
  await using harness = await serve({ script });
  const response = await fetch(`${harness.url}/build`, { method: 'POST', body: archive });
  const closed = harness.server.close(5000);
  end.resolve();
  assert.match(await response.text(), /succeeded in/);
  await closed;
  await assert.rejects(fetch(`${harness.url}/livez`));
});
