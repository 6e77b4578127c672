import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KilnError } from '../../src/model/error.ts';
import { parseRegistryConfig, parseRegistryHeader } from '../../src/model/registry-accounts.ts';

const auth = Buffer.from('me:s3cret').toString('base64');
const account = { username: 'me', password: 's3cret' };

for (const [what, given, expected] of [
  ['the map of X-Registry-Config', { 'r.test:5000': account }, { 'r.test:5000': { auth } }],
  ['a docker config.json', { auths: { 'r.test': { auth } }, credsStore: 'x' }, { 'r.test': { auth } }],
  ['an old URL for a host', { 'https://r.test/v1/': { auth } }, { 'r.test': { auth } }],
  ['Docker Hub by its name', { 'docker.io': account }, { 'https://index.docker.io/v1/': { auth } }],
  [
    'Docker Hub as Docker writes it',
    { 'https://index.docker.io/v1/': { auth } },
    { 'https://index.docker.io/v1/': { auth } },
  ],
  [
    'a token in place of a password',
    { 'r.test': { identitytoken: 't' } },
    { 'r.test': { identitytoken: 't' } },
  ],
  [
    'what Docker adds',
    { 'r.test': { ...account, email: 'a@b', serveraddress: 'r.test' } },
    { 'r.test': { auth } },
  ],
  ['nothing at all', {}, {}],
] as const) {
  test(`${what} is read`, () => {
    assert.deepEqual(parseRegistryConfig(JSON.stringify(given), 'registry-config'), expected);
    for (const encoding of ['base64', 'base64url'] as const) {
      const header = Buffer.from(JSON.stringify(given)).toString(encoding);
      assert.deepEqual(parseRegistryHeader(header), expected);
    }
  });
}

for (const [what, json, message] of [
  ['no JSON', '{s3cret', /must be JSON/],
  ['a list', '["s3cret"]', /must be JSON/],
  ['a password that is no text', '{"r.test":{"username":"me","password":3}}', /must be JSON/],
  ['an account of nobody', '{"auths":{"r.test":{}}}', /r\.test has no account.*credential store/],
  ['a user alone', '{"r.test":{"username":"s3cret"}}', /has no account/],
  ['a host that is none', '{"a b":{"auth":"s3cret"}}', /'a b' is not the host/],
  ['a host that is another option', '{"--x":{"auth":"s3cret"}}', /'--x' is not the host/],
  ['one host twice', '{"docker.io":{"auth":"a"},"index.docker.io":{"auth":"b"}}', /named twice/],
  ['too much', JSON.stringify({ 'r.test': { auth: 'x'.repeat(70_000) } }), /longer than 65536 bytes/],
  [
    'too many hosts',
    JSON.stringify(Object.fromEntries(Array.from({ length: 33 }, (_, i) => [`h${i}`, { auth: 'a' }]))),
    /at most 32/,
  ],
] as const) {
  test(`${what} is refused, and nothing secret is quoted`, () => {
    assert.throws(
      () => parseRegistryConfig(json, 'registry-config'),
      (error) => {
        assert.ok(error instanceof KilnError);
        assert.equal(error.code, 'PARAM_INVALID');
        assert.match(error.message, message);
        assert.doesNotMatch(error.message, /s3cret/);
        return true;
      },
    );
  });
}

test('a header that is no base64 is refused', () => {
  assert.throws(() => parseRegistryHeader('{"r.test":{}}'), { code: 'PARAM_INVALID' });
});
