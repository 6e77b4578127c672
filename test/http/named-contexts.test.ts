import assert from 'node:assert/strict';
import { test } from 'node:test';
import { file, tar } from '../context/tar.ts';
import { oldEntry } from '../simulated-entries.ts';
import {
  archive,
  ask,
  assertProblem,
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

const named = (name: string, value: Buffer | string = tar(file('a'))): Part => ({
  ...{ name: `build-context.${name}`, value, filename: 'ctx.tar' },
});
const source = (name: string, value: string): Part => ({ name: `build-context.${name}`, value });
const dockerfile: Part = { name: 'dockerfile', value: 'FROM base\n', filename: 'Dockerfile' };

for (const [order, parts] of [
  ['before the context', [named('lib'), named('alpine:3'), contextPart]],
  ['behind the context', [contextPart, named('lib'), named('alpine:3')]],
  ['around fields', [named('lib'), source('src', 'https://h.test/a.git'), contextPart, named('alpine:3')]],
] as const) {
  test(`named contexts are taken ${order} (simulated builds)`, async () => {
    await using harness = await serve();
    await harness.api
      .post('/build')
      .set('Content-Type', formType)
      .send(form(...parts))
      .expect(200);
    const [started] = harness.builds.started;
    assert.deepEqual(started?.context?.names, ['lib', 'alpine:3']);
    assert.equal(started?.context?.summary?.entries, 1);
    const sources = order === 'around fields' ? { src: 'https://h.test/a.git' } : {};
    assert.deepEqual(started?.spec.buildContexts, sources);
  });
}

test('named contexts go with a Dockerfile alone, and sources with an archive as the body (simulated builds)', async () => {
  await using harness = await serve();
  const body = form(named('base'), dockerfile);
  await harness.api.post('/build').set('Content-Type', formType).send(body).expect(200);
  const query = String(new URLSearchParams({ 'build-context.alpine:3': 'docker-image://busybox' }));
  await harness.api
    .post(`/build?${query}`)
    .set('Content-Type', 'application/x-tar')
    .send(archive)
    .expect(200);
  const [alone, asBody] = harness.builds.started;
  assert.deepEqual([alone?.context?.summary, alone?.context?.names], [null, ['base']]);
  assert.deepEqual(asBody?.spec.buildContexts, { 'alpine:3': 'docker-image://busybox' });
});

test('real curl sends an archive from its standard input, and a source as text (simulated builds)', async () => {
  await using harness = await serve();
  const fields = [
    'build-context.lib=@-',
    'build-context.base=docker-image://alpine:3',
    'dockerfile=@/dev/null',
  ];
  const form = fields.flatMap((field) => ['-F', field]);
  const { exit, body } = await curl([...form, `${harness.url}/build`], tar(file('a')));
  assert.equal(exit, 0, body);
  const [started] = harness.builds.started;
  assert.deepEqual(started?.context?.names, ['lib']);
  assert.deepEqual(started?.spec.buildContexts, { base: 'docker-image://alpine:3' });
});

const tooMany = Array.from({ length: 9 }, (_, index) => named(`n${index}`));
for (const [what, status, code, parts, message] of [
  ['called ../x', 422, 'PARAM_INVALID', [named('../x'), contextPart], /'\.\.\/x', is neither/],
  ['called --foo', 422, 'PARAM_INVALID', [named('--foo'), contextPart], /'--foo', is neither/],
  ['without a name', 422, 'PARAM_INVALID', [named(''), contextPart], /'', is neither/],
  ['called in capitals', 422, 'PARAM_INVALID', [named('Base'), contextPart], /must be in lower case/],
  [
    'with a name of 300 bytes',
    400,
    'MULTIPART_FIELD',
    [named('a'.repeat(300)), contextPart],
    /a name is longer than 150 characters/,
  ],
  ['called context', 422, 'PARAM_INVALID', [named('context'), contextPart], /means something else/],
  [
    'with a name in brackets',
    400,
    'MULTIPART_FIELD',
    [source('a[b]', 'x'), contextPart],
    /names have no brackets/,
  ],
  ['given twice', 400, 'MULTIPART_FIELD', [named('a'), named('a'), contextPart], /each at most once/],
  [
    'given twice as text',
    400,
    'MULTIPART_FIELD',
    [source('a', 'x'), source('a', 'y'), contextPart],
    /given 2 times/,
  ],
  [
    ...(['given as a file and as text', 422, 'PARAM_INVALID'] as const),
    ...([
      [source('alpine', 'docker-image://a'), named('alpine:latest'), contextPart],
      /'alpine' is given twice/,
    ] as const),
  ],
  [
    'of nine',
    422,
    'PARAM_INVALID',
    [...tooMany, contextPart],
    /9 named contexts are given; at most 8 are taken/,
  ],
  [
    'from a path of the host',
    422,
    'PARAM_INVALID',
    [source('a', '/etc'), contextPart],
    /^Field 'build-context\.a': must be docker-image:/,
  ],
  [
    'from a file of the host',
    422,
    'PARAM_INVALID',
    [source('a', 'file:///etc/passwd'), contextPart],
    /must be docker-image:/,
  ],
  [
    'with a password',
    422,
    'PARAM_INVALID',
    [source('a', 'https://u:hush@h.test/a.git'), contextPart],
    /has a user or a password/,
  ],
  [
    'that escapes',
    422,
    'ENTRY_ESCAPES',
    [named('lib', tar(file('../evil'))), contextPart],
    /^Context 'lib': /,
  ],
  [
    'that is no archive',
    415,
    'ARCHIVE_FORMAT',
    [named('lib', 'FROM scratch\n'), contextPart],
    /^Context 'lib': /,
  ],
  ['alone', 400, 'FILE_MISSING', [named('lib')], /Send the context/],
] as const) {
  test(`a named context ${what} is refused with ${code}, and nothing is left (simulated builds)`, async () => {
    await using harness = await serve();
    const answer = await harness.api
      .post('/build')
      .set('Content-Type', formType)
      .send(form(...parts));
    const { detail } = assertProblem(answer, status, code);
    assert.match(detail, message);
    assert.doesNotMatch(detail, /hush/);
    assert.deepEqual(await harness.staged(), []);
    assert.deepEqual(harness.builds.started, []);
  });
}

for (const [what, parts] of [
  ['a name that none can have', [encodePart(named('../x')).subarray(0, 300)]],
  [
    'a BuildKit that knows none',
    [encodePart({ name: 'entry', value: oldEntry }), encodePart(named('lib')).subarray(0, 300)],
  ],
  ['the same name again', [encodePart(named('lib')), encodePart(named('lib')).subarray(0, 300)]],
] as const) {
  test(`${what} is refused before the archive is read (simulated builds)`, async () => {
    await using harness = await serve();
    const head = `POST /build HTTP/1.1\r\nHost: localhost\r\nContent-Type: ${formType}\r\n`;
    const bytes = [Buffer.from(`${head}Content-Length: 900000000\r\n\r\n`), ...parts];
    const answer = await ask(harness, Buffer.concat(bytes));
    assert.match(answer, /^HTTP\/1\.1 4\d\d /);
    assert.deepEqual(await harness.staged(), []);
  });
}

for (const [where, parts] of [
  ['the first', [encodePart(named('lib')).subarray(0, 900)]],
  ['the second', [encodePart(named('lib')), encodePart(contextPart).subarray(0, 900)]],
  [
    'a field between two',
    [encodePart(named('lib')), encodePart(source('a', 'docker-image://b')).subarray(0, 70)],
  ],
] as const) {
  test(`row 53: a client that leaves within ${where} of several contexts leaves nothing (simulated builds)`, async () => {
    await using harness = await serve();
    const head = `POST /build HTTP/1.1\r\nHost: localhost\r\nContent-Type: ${formType}\r\nContent-Length: 99999\r\n\r\n`;
    const socket = await open(harness, Buffer.concat([Buffer.from(head), ...parts]));
    await waitFor(async () => (await harness.staged()).length === 1, 'the upload is being staged');
    socket.resetAndDestroy();
    await waitFor(() => harness.logged.some(({ status }) => status === 499), 'it is logged as 499');
    assert.deepEqual(await harness.staged(), []);
    assert.deepEqual(harness.builds.started, []);
  });
}
