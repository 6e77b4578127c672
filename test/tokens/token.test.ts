import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { syncBuiltinESMExports } from 'node:module';
import { test } from 'node:test';
import { isSecretOf, makeToken, parseToken, tokenRequest } from '../../src/tokens/token.ts';

const request = tokenRequest.parse({ role: 'build' });

test('a token is found by its id and proved by its secret, of which only a hash is kept', () => {
  const { kept, text } = makeToken(request);
  const parsed = parseToken(text) ?? assert.fail();
  assert.equal(parsed.id, kept.id);
  assert.equal(Buffer.from(parsed.secret, 'base64url').length, 32);
  assert.ok(isSecretOf(kept, parsed.secret));
  assert.ok(!JSON.stringify(kept).includes(parsed.secret));
  assert.deepEqual([kept.role, kept.tenant, kept.name], ['build', 'default', '']);
});

test('no two tokens are alike, and none opens for the other', () => {
  const tokens = Array.from({ length: 50 }, () => makeToken(request));
  assert.equal(new Set(tokens.map(({ kept }) => kept.id)).size, 50);
  assert.equal(new Set(tokens.map(({ kept }) => kept.secretHash)).size, 50);
  const [one, other] = tokens;
  assert.ok(one && other && !isSecretOf(one.kept, parseToken(other.text)?.secret ?? ''));
});

test('secrets are compared in constant time, whatever is wrong with them', (context) => {
  const { kept, text } = makeToken(request);
  const secret = parseToken(text)?.secret ?? '';
  const compare = context.mock.method(crypto, 'timingSafeEqual');
  syncBuiltinESMExports();
  try {
    const flipped = secret.startsWith('A') ? `B${secret.slice(1)}` : `A${secret.slice(1)}`;
    const results = [secret, flipped, `${secret.slice(0, -1)}~`, '', 'x'.repeat(9999)].map((given) =>
      isSecretOf(kept, given),
    );
    assert.deepEqual(results, [true, false, false, false, false]);
    assert.equal(compare.mock.callCount(), 5);
    for (const call of compare.mock.calls)
      assert.deepEqual(
        call.arguments.map((bytes) => bytes.byteLength),
        [32, 32],
      );
  } finally {
    context.mock.restoreAll();
    syncBuiltinESMExports();
  }
});

test('what is not a token to the letter is none', () => {
  const { text } = makeToken(request);
  for (const wrong of [
    ...['', 'kiln_', 'kiln__', text.slice(1), text.slice(0, -1), `${text}A`, ` ${text}`, `${text}\n`],
    ...[text.replace('kiln', 'KILN'), text.replace(/_[0-9a-f]{12}_/, '_../../../../e_'), `${text}\0`],
    text.replace(/[0-9a-f](?=_)/, 'G'),
  ])
    assert.equal(parseToken(wrong), null, JSON.stringify(wrong));
});

test('roles, tenants and names that cannot be are refused', () => {
  for (const wrong of [
    ...[{ role: 'owner' }, { role: 'build', tenant: '' }, { role: 'build', tenant: 'Team' }, {}],
    ...[
      { role: 'build', tenant: '-a' },
      { role: 'build', days: '0' },
      { role: 'build', days: '1.5' },
      { role: 'build', days: '99999' },
      { role: 'build', tenant: 'a'.repeat(64) },
    ],
    ...[
      { role: 'build', tenant: '../a' },
      { role: 'build', name: 'a\u001b[31m' },
    ],
    { role: 'build', name: 'a'.repeat(101) },
  ])
    assert.equal(tokenRequest.safeParse(wrong).success, false, JSON.stringify(wrong));
  assert.ok(tokenRequest.safeParse({ role: 'admin', tenant: 'team-1', name: 'grüße 🙂' }).success);
});
