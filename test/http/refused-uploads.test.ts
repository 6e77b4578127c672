import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import type { ErrorCode } from '../../src/model/error.ts';
import { file, tar } from '../context/tar.ts';
import {
  archive,
  assertProblem,
  boundary,
  contextPart,
  encodePart,
  form,
  formType,
  type Part,
  serve,
} from './harness.ts';

const text = (name: string, value = 'x'): Part => ({ name, value });
const end = `--${boundary}--\r\n`;

/** A request refused: its status and code, and what makes it. */
type Refusal = [status: number, code: ErrorCode, headers: Record<string, string>, body: string | Buffer];

const asForm = (...parts: readonly Part[]): [Record<string, string>, Buffer] => [
  { 'Content-Type': formType },
  form(...parts),
];
const rawForm = (body: string | Buffer): [Record<string, string>, string | Buffer] => [
  { 'Content-Type': formType },
  body,
];
const disposed = (disposition: string): string =>
  `--${boundary}\r\nContent-Disposition: ${disposition}\r\n\r\nx\r\n${end}`;
const whole = encodePart(contextPart);
const typed = (name: string, type: string, value: string): Buffer =>
  Buffer.from(
    `--${boundary}\r\nContent-Disposition: form-data; name="${name}"\r\nContent-Type: ${type}\r\n\r\n${value}\r\n`,
  );

const refusals: Record<string, Refusal> = {
  '47 no file part': [400, 'FILE_MISSING', ...asForm(text('target', 'a'))],
  '47 an empty form': [400, 'FILE_MISSING', ...rawForm(end)],
  '45 a tar as the body of type zip': [415, 'ARCHIVE_FORMAT', { 'Content-Type': 'application/zip' }, archive],
  '45 a file that is called a zip': [
    415,
    'ARCHIVE_FORMAT',
    ...asForm({ ...contextPart, filename: 'Ctx.ZIP' }),
  ],
  '49 a field sent as a file without a name': [
    400,
    'MULTIPART_FIELD',
    ...rawForm(Buffer.concat([whole, typed('target', 'application/octet-stream', 'a'), Buffer.from(end)])),
  ],
  '49 a field in a charset that nobody knows': [
    400,
    'MULTIPART_FIELD',
    ...rawForm(Buffer.concat([whole, typed('target', 'text/plain; charset=zzz', 'a'), Buffer.from(end)])),
  ],
  '47 JSON': [415, 'CONTENT_TYPE', { 'Content-Type': 'application/json' }, '{}'],
  '47 another multipart': [415, 'CONTENT_TYPE', { 'Content-Type': 'multipart/mixed; boundary=b' }, 'x'],
  '47 no body at all': [400, 'FILE_MISSING', { 'Content-Length': '0' }, ''],
  '48 no boundary': [400, 'MULTIPART_INVALID', { 'Content-Type': 'multipart/form-data' }, form(contextPart)],
  '48 no closing boundary': [400, 'MULTIPART_INVALID', ...rawForm(whole)],
  '48 a cut closing boundary': [
    400,
    'MULTIPART_INVALID',
    ...rawForm(Buffer.concat([whole, Buffer.from('--kilnb')])),
  ],
  '48 a body that ends within the file': [400, 'MULTIPART_INVALID', ...rawForm(whole.subarray(0, -600))],
  '48 a body that ends within a part header': [
    400,
    'MULTIPART_INVALID',
    ...rawForm(`--${boundary}\r\nContent-Dispo`),
  ],
  '48 a part header that is none': [
    400,
    'MULTIPART_INVALID',
    ...rawForm(`--${boundary}\r\nno header\r\n\r\nx\r\n${end}`),
  ],
  '49 a part without name': [400, 'MULTIPART_FIELD', ...rawForm(disposed('form-data'))],
  '49 a file without name': [400, 'MULTIPART_FIELD', ...rawForm(disposed('form-data; filename="x"'))],
  '49 an unknown field': [400, 'MULTIPART_FIELD', ...asForm(contextPart, text('dockerfle'))],
  '49 an unknown file': [400, 'MULTIPART_FIELD', ...asForm({ ...contextPart, name: 'file' })],
  '49 two contexts': [400, 'MULTIPART_FIELD', ...asForm(contextPart, contextPart)],
  '49 three files': [
    400,
    'MULTIPART_FIELD',
    ...asForm(contextPart, { name: 'dockerfile', value: 'FROM scratch', filename: 'D' }, contextPart),
  ],
  '49 a context that is no file': [400, 'MULTIPART_FIELD', ...asForm(text('context', 'ctx.tgz'))],
  '49 a field given twice': [400, 'MULTIPART_FIELD', ...asForm(contextPart, text('target'), text('target'))],
  '49 too many fields': [
    400,
    'MULTIPART_FIELD',
    ...asForm(contextPart, ...Array.from({ length: 601 }, (_, index) => text('build-arg', `A${index}=`))),
  ],
  '49 a value over 64 KB': [
    400,
    'MULTIPART_FIELD',
    ...asForm(text('target', 'x'.repeat(70_000)), contextPart),
  ],
  '49 more than 4 MiB of fields': [
    400,
    'MULTIPART_FIELD',
    ...asForm(
      ...Array.from({ length: 70 }, (_, index) => text('build-arg', `A${index}=${'x'.repeat(64_000)}`)),
    ),
  ],
  '49 a name over 150 characters': [400, 'MULTIPART_FIELD', ...asForm(text('x'.repeat(151)), contextPart)],
  '49 a Dockerfile as a file and as a path': [
    400,
    'MULTIPART_FIELD',
    ...asForm(
      contextPart,
      { name: 'dockerfile', value: 'FROM scratch', filename: 'D' },
      text('dockerfile', 'D'),
    ),
  ],
  '50 nested names': [400, 'MULTIPART_FIELD', ...asForm(text(`a${'[b]'.repeat(30)}`), contextPart)],
  '50 a name nested 3000 times': [
    400,
    'MULTIPART_FIELD',
    ...asForm(text(`a${'[b]'.repeat(3000)}`), contextPart),
  ],
  '50 huge array indexes': [
    400,
    'MULTIPART_FIELD',
    ...asForm(text('a[4294967294]'), text('a[]'), contextPart),
  ],
  '50 an array of a known field': [
    400,
    'MULTIPART_FIELD',
    ...asForm(contextPart, text('build-arg[]', 'A=1')),
  ],
  '50 __proto__[x]': [400, 'MULTIPART_FIELD', ...asForm(text('__proto__[x]'), contextPart)],
  '50 __proto__': [400, 'MULTIPART_FIELD', ...asForm(text('__proto__'), contextPart)],
  '50 constructor': [400, 'MULTIPART_FIELD', ...asForm(text('constructor'), contextPart)],
  '61 Content-Encoding': [
    415,
    'CONTENT_ENCODING',
    { 'Content-Type': 'application/x-tar', 'Content-Encoding': 'gzip' },
    gzipSync(archive),
  ],
  '63 build arguments and labels of more than 1 MiB in all': [
    422,
    'PARAM_INVALID',
    ...asForm(
      ...Array.from({ length: 9 }, (_, index) => text('build-arg', `A${index}=${'x'.repeat(60_000)}`)),
      ...Array.from({ length: 9 }, (_, index) => text('label', `a${index}=${'x'.repeat(60_000)}`)),
      contextPart,
    ),
  ],
  '63 a build argument without =': [422, 'PARAM_INVALID', ...asForm(contextPart, text('build-arg', 'A'))],
  '63 a build argument without a name': [
    422,
    'PARAM_INVALID',
    ...asForm(contextPart, text('build-arg', '=x')),
  ],
  '63 a build argument named --opt': [
    422,
    'PARAM_INVALID',
    ...asForm(contextPart, text('build-arg', '--opt=x')),
  ],
  '63 a build argument named $(id)': [
    422,
    'PARAM_INVALID',
    ...asForm(contextPart, text('build-arg', '$(id)=x')),
  ],
  '63 a build argument with a line end in its name': [
    422,
    'PARAM_INVALID',
    ...asForm(contextPart, text('build-arg', 'A\nB=x')),
  ],
  '63 a target of two words': [422, 'PARAM_INVALID', ...asForm(contextPart, text('target', 'a b'))],
  '63 a Dockerfile outside of the context': [
    422,
    'PARAM_INVALID',
    ...asForm(contextPart, text('dockerfile', '../D')),
  ],
  '63 a timeout in days': [422, 'PARAM_INVALID', ...asForm(contextPart, text('timeout', '3d'))],
  '63 no timeout': [422, 'PARAM_INVALID', ...asForm(contextPart, text('timeout', '0'))],
  '63 maybe no cache': [422, 'PARAM_INVALID', ...asForm(contextPart, text('no-cache', 'maybe'))],
  '63 constructor as a choice': [
    422,
    'PARAM_INVALID',
    ...asForm(contextPart, text('on-failure', 'constructor')),
  ],
  '64 an upper-case tag': [422, 'REF_INVALID', ...asForm(contextPart, text('tag', 'Demo'))],
  '64 a tag of 300 characters': [422, 'REF_INVALID', ...asForm(contextPart, text('t', 'x'.repeat(300)))],
  '64 a tag with an option in it': [422, 'REF_INVALID', ...asForm(contextPart, text('t', 'a,push=true'))],
  '65 another platform': [
    422,
    'PLATFORM_UNSUPPORTED',
    ...asForm(contextPart, text('platform', 'linux/arm64')),
  ],
  'an archive that is none, in a form': [
    415,
    'ARCHIVE_FORMAT',
    ...asForm({ ...contextPart, value: 'x'.repeat(100_000) }),
  ],
  'an archive that is none, as the body': [
    415,
    'ARCHIVE_FORMAT',
    { 'Content-Type': 'application/x-tar' },
    'x'.repeat(100_000),
  ],
  'an entry outside of the context': [
    422,
    'ENTRY_ESCAPES',
    { 'Content-Type': 'application/x-tar' },
    tar(file('../evil')),
  ],
  'a Dockerfile of 2 MiB': [
    422,
    'DOCKERFILE_INVALID',
    ...asForm({ name: 'dockerfile', value: Buffer.alloc(2 << 20, '#'), filename: 'D' }),
  ],
};

for (const [title, [status, code, headers, body]] of Object.entries(refusals)) {
  test(`row ${title}: ${status} ${code}, nothing left (simulated builds)`, async () => {
    await using harness = await serve();
    assertProblem(await harness.api.post('/build').set(headers).send(body), status, code);
    assert.deepEqual(harness.builds.started, []);
    assert.deepEqual(await harness.staged(), []);
    assert.equal(harness.logged.filter(({ level }) => level === 'error').length, 0);
  });
}
