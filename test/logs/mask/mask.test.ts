import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createBuildMask } from '../../../src/logs/mask/build-mask.ts';
import { FormSearch } from '../../../src/logs/mask/form-search.ts';
import { MaskStream } from '../../../src/logs/mask/mask-stream.ts';
import { findSecretForms } from '../../../src/logs/mask/secret-forms.ts';
import { BuildSecrets } from '../../../src/model/build-secrets.ts';

function secretsOf(...values: (string | Buffer)[]): BuildSecrets {
  return BuildSecrets.of({
    secrets: values.map((value, index) => ({ id: `s${index}`, value: Buffer.from(value) })),
  });
}

/** In pieces of so many bytes. */
function masked(secrets: BuildSecrets, text: string | Buffer, step = 1): string {
  const mask = createBuildMask(secrets);
  const bytes = Buffer.from(text);
  let out = '';
  for (let at = 0; at < bytes.length; at += step)
    out += mask.log(bytes.subarray(at, at + step)).toString('latin1');
  return out + mask.end().log.toString('latin1');
}

const secret = 'p@ss "w<rd>&\\/?=';
const base64 = (text: string): string => Buffer.from(text).toString('base64');

for (const [form, printed, expected] of [
  ['as it is', `#7 0.1 ${secret}!\n`, '#7 0.1 ***!\n'],
  ['twice in a row', `a${secret}${secret}b`, 'a***b'],
  ['in hexadecimal', Buffer.from(secret).toString('hex'), '***'],
  ['in capitals', Buffer.from(secret).toString('hex').toUpperCase(), '***'],
  ['in a URL', `https://u:${encodeURIComponent(secret)}@h/`, 'https://u:***@h/'],
  ['in a form', new URLSearchParams({ q: secret }).toString(), 'q=***'],
  ['in JSON', JSON.stringify({ a: secret }), '{"a":"***"}'],
  [
    'in JSON of Go',
    `"${JSON.stringify(secret)
      .slice(1, -1)
      .replace(/[<>&]/g, (c) => `\\u00${c.charCodeAt(0).toString(16)}`)}"`,
    '"***"',
  ],
  ['in base64', base64(secret), /^\*\*\*.?=*$/],
  ['in base64url', Buffer.from(secret).toString('base64url'), /^\*\*\*.?$/],
  ['in base64 behind one byte', base64(`:${secret}`), /^.{1,2}\*\*\*.?=*$/],
  ['in base64 within a header', base64(`me:${secret}\n`), /^.{1,5}\*\*\*.{0,4}$/],
  ['not at all', 'nothing of it, p@ss alone', 'nothing of it, p@ss alone'],
] as const) {
  test(`a secret is masked ${form}, wherever the chunks end`, () => {
    for (const step of [1, 2, 3, 7, 1000]) {
      const shown = masked(secretsOf(secret), printed, step);
      if (typeof expected === 'string') assert.equal(shown, expected);
      else assert.match(shown, expected);
    }
  });
}

test('of several lines each is masked, as BuildKit puts something before it; what PEM puts around a key is not', () => {
  const key = '-----BEGIN KEY-----\nAAAAAAAAAAAAAAAA\nBBBBBBBBBBBBBBBB\n-----END KEY-----\n';
  const log = '#1 0.1 -----BEGIN KEY-----\n#1 0.1 AAAAAAAAAAAAAAAA\n#1 0.1 BBBBBBBBBBBBBBBB\n';
  assert.equal(masked(secretsOf(key), log, 5), '#1 0.1 -----BEGIN KEY-----\n#1 0.1 ***\n#1 0.1 ***\n');
  assert.equal(masked(secretsOf(key), `x${key}y`, 5), 'x***\ny');
});

test('passwords and tokens of accounts are masked, users are not', () => {
  const auth = base64('someuser:correct-horse');
  const secrets = BuildSecrets.of({ accounts: { 'r.test': { auth, identitytoken: 'eyJidentity' } } });
  const log = `someuser correct-horse ${auth} eyJidentity`;
  assert.equal(masked(secrets, log, 4), 'someuser *** *** ***');
});

test('what is short is not masked, what is large not in every form, and both are said', () => {
  const { warnings } = findSecretForms(secretsOf('1234567', '12345678', '', Buffer.alloc(300_000, 'x')));
  assert.equal(warnings.length, 2);
  assert.match(warnings[0] ?? '', /'s0' has fewer than 8 bytes/);
  assert.match(warnings[1] ?? '', /'s3' is too large/);
  assert.equal(masked(secretsOf('1234567', '12345678'), '1234567 12345678'), '1234567 ***');
});

test('a beginning that becomes no secret comes out, at the end too', () => {
  assert.equal(masked(secretsOf('abcdefghij'), 'abcdefghi abcdefgh'), 'abcdefghi abcdefgh');
});

/** What a stream should give, the slow way. */
function maskSlowly(forms: readonly string[], text: string): string {
  const hidden = new Set<number>();
  for (const form of forms)
    for (let at = text.indexOf(form); at >= 0; at = text.indexOf(form, at + 1))
      for (let offset = 0; offset < form.length; offset += 1) hidden.add(at + offset);
  return Array.from(text)
    .map((letter, at) => (hidden.has(at) ? (hidden.has(at - 1) ? '' : '***') : letter))
    .join('');
}

test('whatever the secrets, the text and the chunks, the same is masked as by looking for each', () => {
  const word = fc.string({ unit: fc.constantFrom('a', 'b'), minLength: 1, maxLength: 6 });
  const text = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), maxLength: 60 });
  fc.assert(
    fc.property(
      fc.array(word, { minLength: 1, maxLength: 5 }),
      text,
      fc.integer({ min: 1, max: 9 }),
      (forms, given, step) => {
        const stream = new MaskStream(new FormSearch(forms.map((form) => Buffer.from(form))));
        let out = '';
        for (let at = 0; at < given.length; at += step)
          out += stream.push(Buffer.from(given.slice(at, at + step)));
        assert.equal(out + stream.end(), maskSlowly(forms, given));
      },
    ),
    { numRuns: 2000 },
  );
});

test('a secret of one letter, printed without end, holds nothing back and is one mask', () => {
  const stream = new MaskStream(new FormSearch([Buffer.alloc(64, 'a')]));
  let out = '';
  for (let chunk = 0; chunk < 1000; chunk += 1) out += stream.push(Buffer.alloc(1000, 'a'));
  assert.equal(out + stream.end(), '***');
});
