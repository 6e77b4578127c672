import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { file, tar } from '../context/tar.ts';
import {
  archive,
  ask,
  assertProblem,
  boundary,
  contextPart,
  curl,
  encodePart,
  form,
  formType,
  open,
  type Part,
  serve,
  waitFor,
} from './harness.ts';

const text = (name: string, value = 'x'): Part => ({ name, value });
const end = `--${boundary}--\r\n`;

for (const [query, status, code] of [
  ['?dockerfle=x', 400, 'MULTIPART_FIELD'],
  ['?target=a&target=b', 400, 'MULTIPART_FIELD'],
  ['?__proto__=x', 400, 'MULTIPART_FIELD'],
  ['?timeout=soon', 422, 'PARAM_INVALID'],
  ['?context-dir=../x', 422, 'PARAM_INVALID'],
  ['?context-dir=/etc', 422, 'PARAM_INVALID'],
  ['?entry=buildkit-v0.1.0', 404, 'BUILDKIT_UNKNOWN'],
  ['?buildkit=v0.1.0', 404, 'BUILDKIT_UNKNOWN'],
  ['?buildkit=v0.1.0&entry=v0.1.0', 422, 'PARAM_INVALID'],
] as const) {
  test(`a body with ${query} in the URL is refused before it is asked for (simulated builds)`, async () => {
    await using harness = await serve();
    const head = `POST /build${query} HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n`;
    const answer = await ask(harness, `${head}Content-Type: application/x-tar\r\nContent-Length: 9\r\n\r\n`);
    assert.match(answer, new RegExp(`^HTTP/1.1 ${status} `));
    assert.ok(answer.includes(`"${code}"`), answer);
  });
}

const before: Record<string, readonly [parts: readonly Part[], code: string]> = {
  'a wrong value': [[text('target', 'a b')], 'PARAM_INVALID'],
  'an unknown field': [[text('dockerfle')], 'MULTIPART_FIELD'],
  'an archive entry that is not there': [[text('entry', 'buildkit-v0.1.0')], 'BUILDKIT_UNKNOWN'],
  'a Dockerfile that is none': [
    [{ name: 'dockerfile', value: 'FROM a\0b', filename: 'Dockerfile' }],
    'DOCKERFILE_INVALID',
  ],
  'a Dockerfile as a file and as a path': [
    [{ name: 'dockerfile', value: 'FROM scratch', filename: 'Dockerfile' }, text('dockerfile', 'D')],
    'MULTIPART_FIELD',
  ],
};

for (const [what, [parts, code]] of Object.entries(before)) {
  test(`${what} before the context is refused before the context is read (simulated builds)`, async () => {
    const stageContexts = (): never => assert.fail('it was read');
    await using harness = await serve({ overrides: { stageContexts } });
    const head = `POST /build HTTP/1.1\r\nHost: localhost\r\nContent-Type: ${formType}\r\n`;
    const begun = [...parts.map(encodePart), encodePart(contextPart).subarray(0, 300)];
    const answer = await ask(
      harness,
      Buffer.concat([Buffer.from(`${head}Content-Length: 900000000\r\n\r\n`), ...begun]),
    );
    assert.match(answer, /^HTTP\/1\.1 4\d\d /);
    assert.ok(answer.includes(`"code":"${code}"`), answer);
  });
}

for (const disposition of ['form-data; name="context"', 'form-data; name="context"; filename=""']) {
  test(`row 58: the context is taken under whatever name: ${disposition} (simulated builds)`, async () => {
    await using harness = await serve();
    const head = `--${boundary}\r\nContent-Disposition: ${disposition}\r\nContent-Type: application/octet-stream\r\n\r\n`;
    const body = Buffer.concat([Buffer.from(head), archive, Buffer.from(`\r\n${end}`)]);
    await harness.api.post('/build').set('Content-Type', formType).send(body).expect(200);
    assert.equal(harness.builds.started.length, 1);
    assert.ok(harness.builds.started[0]?.context);
  });
}

test('who writes all of a refused form before reading gets the answer (simulated builds)', async () => {
  await using harness = await serve();
  const rest = Array.from({ length: 40 }, (_, index) => file(`r${index}`, 'x'.repeat(1 << 20)));
  const body = form({ ...contextPart, value: tar(file('../evil'), ...rest) });
  const head = `POST /build HTTP/1.1\r\nHost: localhost\r\nContent-Type: ${formType}\r\nContent-Length: ${body.length}\r\n\r\n`;
  const socket = await open(harness, head);
  await new Promise<void>((resolve, reject) =>
    socket.write(body, (error) => (error ? reject(error) : resolve())),
  );
  const [answer] = (await once(socket, 'data')) as [Buffer];
  assert.match(answer.toString(), /^HTTP\/1\.1 422 [\s\S]*ENTRY_ESCAPES/);
  socket.destroy();
});

test('empty fields are as if they were left out, follow takes 1, fields are called as they were sent (simulated builds)', async () => {
  await using harness = await serve();
  const upload = () => harness.api.post('/build').attach('context', archive, 'ctx.tar');
  await upload().field({ target: '', platform: '', output: '', timeout: '', dockerfile: '' }).expect(200);
  assert.equal(harness.builds.started[0]?.spec.target, undefined);
  for (const [name, value, detail] of [
    ['tag', 'UPPER', "Field 'tag.0': is not a valid image reference."],
    [
      'output',
      'rpm',
      "Field 'output': 'rpm' has no type of docker, oci, local, tar, image, registry, none, cacheonly.",
    ],
    ['platform', 'linux/arm64', "Field 'platform': only linux/amd64 is offered."],
    [
      'build-arg',
      '1A=x',
      "Field 'build-arg.1A': names are letters, digits, _ and ., and do not begin with a digit.",
    ],
    ['build-arg', '__proto__=x', "Field 'build-arg': nothing can be called __proto__."],
    ['timeout', '0', "Field 'timeout': must be at least 1 second."],
  ] as const)
    assert.equal((await upload().field(name, value)).body.detail, detail);
});

test('a field both in the form and in the URL is refused (simulated builds)', async () => {
  await using harness = await serve();
  const answer = await harness.api
    .post('/build?target=b')
    .attach('context', archive, 'ctx.tar')
    .field('target', 'a');
  assertProblem(answer, 400, 'MULTIPART_FIELD');
  assert.deepEqual(await harness.staged(), []);
});

test('row 51: an upload over the limit is refused before its body is asked for (simulated builds)', async () => {
  await using harness = await serve({ settings: { uploadMaxBytes: 1000 } });
  const head = 'POST /build HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n';
  const answer = await ask(harness, `${head}Content-Type: application/x-tar\r\nContent-Length: 1001\r\n\r\n`);
  assert.match(answer, /^HTTP\/1.1 413 /);
  assert.match(answer, /"code":"UPLOAD_TOO_LARGE".*"limit":1000/);
  const large = Buffer.concat([archive, Buffer.alloc(8 << 20)]);
  const { body, exit } = await curl(['--data-binary', '@-', `${harness.url}/build`], large);
  assert.equal(exit, 0, 'curl reads the answer although it had more to send');
  assert.equal(JSON.parse(body).code, 'UPLOAD_TOO_LARGE');
});

test('a client that asks first is invited once and served (simulated builds)', async () => {
  await using harness = await serve();
  const expect = ['-H', 'Expect: 100-continue'];
  const asForm = await curl([...expect, '-F', 'context=@-', `${harness.url}/build`], archive);
  const asBody = await curl([...expect, '--data-binary', '@-', `${harness.url}/build`], archive);
  for (const { exit, headers } of [asForm, asBody]) {
    assert.equal(exit, 0);
    assert.match(headers, /^HTTP\/1.1 100 Continue\r\n\r\nHTTP\/1.1 200 OK\r\n/);
  }
});

for (const chunked of [
  ['-F', 'context=@-'],
  ['-X', 'POST', '-T', '-'],
]) {
  test(`row 52: curl ${chunked.join(' ')} in chunks over the limit gets 413 (simulated builds)`, async () => {
    await using harness = await serve({ maxUploadBytes: 1 << 20 });
    const args = ['-H', 'Transfer-Encoding: chunked', ...chunked, `${harness.url}/build`];
    const large = tar(file('Dockerfile', 'FROM scratch\n'), file('big', Buffer.alloc(16 << 20)));
    const { exit, body, headers } = await curl(args, large);
    assert.equal(exit, 0, body);
    assert.match(headers, /^HTTP\/1.1 413 [\s\S]*Connection: close/m);
    assert.equal(JSON.parse(body).code, 'UPLOAD_TOO_LARGE');
    assert.deepEqual(await harness.staged(), []);
  });
}

const partOfForm = Buffer.concat([
  Buffer.from(
    `POST /build HTTP/1.1\r\nHost: localhost\r\nContent-Type: ${formType}\r\nContent-Length: 9999\r\n\r\n`,
  ),
  encodePart(contextPart).subarray(0, 900),
]);
const partOfField = Buffer.from(
  `POST /build HTTP/1.1\r\nHost: localhost\r\nContent-Type: ${formType}\r\nContent-Length: 9999\r\n\r\n--${boundary}\r\nContent-Disposition: form-data; name="target"\r\n\r\nab`,
);
const partOfBody = Buffer.concat([
  Buffer.from(
    'POST /build HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-tar\r\nTransfer-Encoding: chunked\r\n\r\n200\r\n',
  ),
  archive.subarray(0, 300),
]);

for (const [where, bytes, stages] of [
  ['the file of a form', partOfForm, true],
  ['a field of a form', partOfField, false],
  ['the body', partOfBody, true],
] as const) {
  for (const leave of ['end', 'resetAndDestroy'] as const) {
    test(`row 53: a client that leaves (${leave}) within ${where} leaves nothing (simulated builds)`, async () => {
      await using harness = await serve();
      const socket = await open(harness, bytes);
      if (stages)
        await waitFor(async () => (await harness.staged()).length === 1, 'the upload is being staged');
      socket[leave]();
      await waitFor(() => harness.logged.some(({ status }) => status === 499), 'it is logged as 499');
      assert.deepEqual(await harness.staged(), []);
      assert.equal(harness.logged.length, 1);
      assert.deepEqual(harness.builds.started, []);
    });
  }

  test(`row 54: a client that stalls within ${where} gets 408 (simulated builds)`, async () => {
    await using harness = await serve({ settings: { uploadStallMs: 200 } });
    const answer = await ask(harness, bytes);
    assert.match(answer, /^HTTP\/1.1 408 [\s\S]*Connection: close[\s\S]*"code":"UPLOAD_TIMEOUT"/);
    assert.deepEqual(await harness.staged(), []);
  });
}

test('row 54: an upload that crawls gets 408 (simulated builds)', async () => {
  await using harness = await serve({ settings: { uploadStallMs: 400 } });
  const socket = await open(harness, partOfBody.subarray(0, 200));
  const crawl = setInterval(() => socket.write('x'), 50);
  const [answer] = await once(socket, 'data');
  clearInterval(crawl);
  socket.destroy();
  assert.match(String(answer), /^HTTP\/1.1 408 /);
});

const oddNames: readonly (readonly [title: string, disposition: string, code: string | null])[] = [
  ['a path', 'form-data; name="context"; filename="../../etc/passwd"', null],
  ['10 KB', `form-data; name="context"; filename="${'x'.repeat(10_000)}"`, null],
  ['an unknown charset', 'form-data; name="context"; filename="x"; filename*=klingon\'en\'%ff', null],
  ['a charset alone', 'form-data; name="context"; filename*=UTF-8', null],
  ['bytes of no charset', 'form-data; name=context; filename="\xe9\xff.tar"', null],
  ['escaped quotes', 'Form-Data ;name="context"; filename="a\\"b;c"', null],
  ['NUL', 'form-data; name="context"; filename="a\0b"', 'MULTIPART_INVALID'],
  ['an open quote', 'form-data; name="context"; filename="a', 'MULTIPART_INVALID'],
  ['no value', 'form-data; name="context"; filename', 'MULTIPART_INVALID'],
  ['a part of no form', 'attachment; name="context"; filename="a"', 'MULTIPART_INVALID'],
  ['another kind than its bytes', 'form-data; name="context"; filename*=UTF-8\'\'%20.zip', 'ARCHIVE_FORMAT'],
];
for (const [title, disposition, code] of oddNames) {
  test(`row 58: a file name of ${title} is ${code ? `refused with ${code}` : 'not used'} (simulated builds)`, async () => {
    await using harness = await serve();
    const header = Buffer.from(`--${boundary}\r\nContent-Disposition: ${disposition}\r\n\r\n`, 'latin1');
    const body = Buffer.concat([encodePart(text('target')), header, archive, Buffer.from(`\r\n${end}`)]);
    const answer = await harness.api.post('/build').set('Content-Type', formType).send(body);
    if (code) assertProblem(answer, code === 'ARCHIVE_FORMAT' ? 415 : 400, code);
    else assert.equal(harness.builds.started[0]?.context?.summary?.entries, 1, answer.text);
    assert.ok((await harness.staged()).every((name) => /^[0-9a-f-]{36}\.erofs$/.test(name)));
  });
}

for (const header of [
  'Content-Type: text/plain',
  'Content-Disposition: form-data; name="target"; charset',
  'Content-Disposition: name="target"',
  'Content-Disposition: form-data; name=network\\',
  'Content-Disposition: form-data; name=network\\ ; filename=x',
]) {
  test(`row 58: a text field with ${header} is not passed over (simulated builds)`, async () => {
    await using harness = await serve();
    const part = Buffer.from(`--${boundary}\r\n${header}\r\n\r\nx\r\n`);
    const body = Buffer.concat([part, encodePart(contextPart), Buffer.from(end)]);
    const answer = await harness.api.post('/build').set('Content-Type', formType).send(body);
    assertProblem(answer, 400, 'MULTIPART_INVALID');
  });
}

test('the answer to a refused upload arrives although its body is still being sent (simulated builds)', async () => {
  await using harness = await serve();
  const large = Buffer.concat([Buffer.alloc(600, 'x'), Buffer.alloc(32 << 20)]);
  for (let run = 0; run < 10; run += 1) {
    const { exit, body } = await curl(['-F', 'context=@-', `${harness.url}/build`], large);
    assert.equal(exit, 0, `run ${run}`);
    assert.equal(JSON.parse(body).code, 'ARCHIVE_FORMAT');
  }
});
