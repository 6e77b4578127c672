import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inspect } from 'node:util';
import { generateKeyPair } from '../../src/ssh/keys.ts';
import { archive, assertProblem, contextPart, curl, form, formType, type Part, serve } from './harness.ts';

const value = 'correct-horse-battery-staple';
const key = generateKeyPair().privateKey;
const accounts = JSON.stringify({ 'r.test': { username: 'me', password: value } });
const header = Buffer.from(accounts).toString('base64url');
const auth = Buffer.from(`me:${value}`).toString('base64');

for (const [how, filename] of [
  ['as files', { filename: 'x' }],
  ['as text', {}],
] as const) {
  test(`secrets, keys and accounts are taken ${how}, before or behind the context, and shown by name alone (simulated builds)`, async () => {
    await using harness = await serve();
    const parts: Part[] = [
      { name: 'secret.npm', value, ...filename },
      contextPart,
      { name: 'ssh.default', value: key, ...filename },
      { name: 'registry-config', value: accounts, ...filename },
    ];
    const body = form(...parts);
    await harness.api.post('/build').set('Content-Type', formType).send(body).expect(200);
    const [started] = harness.builds.started;
    const secrets = started?.secrets;
    assert.deepEqual(secrets?.names, { registries: ['r.test'], secrets: ['npm'], sshKeys: ['default'] });
    assert.deepEqual(secrets?.accounts, { 'r.test': { auth } });
    assert.equal(String(secrets?.secrets[0]?.value), value);
    assert.equal(String(secrets?.sshKeys[0]?.value), key);
    const printed = [JSON.stringify(started), inspect(started, { depth: 9 }), JSON.stringify(harness.logged)];
    for (const text of printed) assert.doesNotMatch(text, new RegExp(`${value}|${auth}`));
  });
}

test('the header of Docker works with an archive as the body, too (simulated builds)', async () => {
  await using harness = await serve();
  const headers = { 'Content-Type': 'application/x-tar', 'X-Registry-Config': header };
  await harness.api.post('/build').set(headers).send(archive).expect(200);
  assert.deepEqual(harness.builds.started[0]?.secrets?.accounts, { 'r.test': { auth } });
});

test('real curl sends a secret from a file, with bytes that are no text, as it is (simulated builds)', async () => {
  await using harness = await serve();
  const bytes = Buffer.from([0, 255, 10, 13, 10, 0]);
  const fields = ['-F', 'dockerfile=FROM scratch;filename=Dockerfile', '-F', 'secret.raw=@-'];
  const { exit, body } = await curl([...fields, `${harness.url}/build`], bytes);
  assert.equal(exit, 0, body);
  assert.deepEqual(harness.builds.started[0]?.secrets?.secrets[0]?.value, bytes);
});

const file = (name: string, content: string | Buffer): Part => ({ name, value: content, filename: 'x' });
for (const [what, parts, status, code, message] of [
  ['an id with a slash', [file('secret.a/b', value)], 422, 'SECRET_INVALID', /an id is/],
  ['an id that is an option', [file('secret.--x', value)], 422, 'SECRET_INVALID', /an id is/],
  ['an id with a comma', [file('ssh.a,b', key)], 422, 'SECRET_INVALID', /an id is/],
  ['no id', [file('secret.', value)], 422, 'SECRET_INVALID', /an id is/],
  [
    'the same id as file and text',
    [file('secret.a', value), { name: 'secret.a', value }],
    422,
    'SECRET_INVALID',
    /twice/,
  ],
  [
    'the same id twice as text',
    [
      { name: 'secret.a', value },
      { name: 'secret.a', value },
    ],
    422,
    'SECRET_INVALID',
    /twice/,
  ],
  [
    'the same id twice as files',
    [file('secret.a', value), file('secret.a', value)],
    400,
    'MULTIPART_FIELD',
    /at most once/,
  ],
  [
    'more than 500 KiB',
    [file('secret.a', Buffer.alloc(512_001))],
    422,
    'SECRET_INVALID',
    /more than 512000 bytes/,
  ],
  [
    'more than 1 MiB together',
    [1, 2, 3].map((n) => file(`secret.s${n}`, Buffer.alloc(400_000))),
    422,
    'SECRET_INVALID',
    /together have more than 1048576/,
  ],
  [
    '17 secrets',
    Array.from({ length: 17 }, (_, n) => file(`secret.s${n}`, value)),
    422,
    'SECRET_INVALID',
    /at most 16/,
  ],
  ['no ssh key', [file('ssh.default', value)], 422, 'SECRET_INVALID', /not a private ssh key/],
  ['accounts that are none', [file('registry-config', value)], 422, 'PARAM_INVALID', /must be JSON/],
] satisfies [string, Part[], number, string, RegExp][]) {
  test(`row 67: ${what} is refused before the context is read, without a word of it (simulated builds)`, async () => {
    await using harness = await serve();
    const body = form(...parts, { ...contextPart, value: Buffer.alloc(100_000) });
    const answer = await harness.api.post('/build').set('Content-Type', formType).send(body);
    const { detail } = assertProblem(answer, status, code);
    assert.match(detail, message);
    assert.ok(!JSON.stringify([answer.body, harness.logged]).includes(value));
    assert.deepEqual([harness.builds.started, await harness.staged()], [[], []]);
  });
}

test('a secret in the URL, accounts in two places and a header that is no base64 are refused (simulated builds)', async () => {
  await using harness = await serve();
  const inUrl = `/build?secret.a=${value}`;
  const tar = { 'Content-Type': 'application/x-tar' };
  const answer = await harness.api.post(inUrl).set(tar).send(archive);
  assert.match(assertProblem(answer, 400, 'MULTIPART_FIELD').detail, /in the URL/);
  assert.ok(!JSON.stringify([answer.body, harness.logged]).includes(value));
  const both = form({ name: 'registry-config', value: accounts }, contextPart);
  const headers = { 'Content-Type': formType, 'X-Registry-Config': header };
  assertProblem(await harness.api.post('/build').set(headers).send(both), 400, 'MULTIPART_FIELD');
  const broken = { ...tar, 'X-Registry-Config': '{}' };
  assertProblem(await harness.api.post('/build').set(broken).send(archive), 422, 'PARAM_INVALID');
});
