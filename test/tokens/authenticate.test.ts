import assert from 'node:assert/strict';
import { test } from 'node:test';
import { localAdmin } from '../../src/model/caller.ts';
import { createAuthenticator } from '../../src/tokens/authenticate.ts';
import { idOf, openTokens } from './harness.ts';

const local = '127.0.0.1';

test('without tokens this machine is admin of the tenant default, and nobody else is served', async () => {
  await using tokens = await openTokens();
  const { authenticate } = tokens;
  for (const address of ['127.0.0.1', '127.8.9.10', '::1', '::ffff:127.0.0.1'])
    assert.deepEqual(await authenticate({ authorization: undefined, address }), localAdmin, address);
  for (const address of ['10.0.0.1', '::ffff:10.0.0.1', 'fe80::1', '127.0.0.1.example', 'unknown', undefined])
    await assert.rejects(authenticate({ authorization: undefined, address }), { code: 'TOKEN_MISSING' });
});

test('without tokens nobody is served through a proxy, who all come from this machine', async () => {
  await using tokens = await openTokens();
  const authenticate = createAuthenticator(tokens.folder, { secure: true, proxied: true });
  const asked = { authorization: undefined, address: local };
  await assert.rejects(authenticate(asked), { code: 'TOKEN_MISSING' });
  const authorization = `Bearer ${await tokens.make('read')}`;
  assert.equal((await authenticate({ ...asked, authorization })).role, 'read');
});

test('a token of another installation is not taken for anybody while this one has none', async () => {
  await using tokens = await openTokens();
  await using others = await openTokens();
  const authorization = `Bearer ${await others.make('admin')}`;
  await assert.rejects(tokens.authenticate({ authorization, address: local }), { code: 'TOKEN_INVALID' });
  // What a proxy or a browser adds on its own is none of ours.
  for (const foreign of ['Bearer eyJhbGciOiJub25lIn0.e30.', 'Basic a2lsbjp4', 'Bearer', 'kiln'])
    assert.deepEqual(await tokens.authenticate({ authorization: foreign, address: local }), localAdmin);
});

test('from the first token on, this machine needs one too, and a token says who calls', async () => {
  await using tokens = await openTokens();
  const { authenticate } = tokens;
  const text = await tokens.make('read', 'team-a');
  await assert.rejects(authenticate({ authorization: undefined, address: local }), { code: 'TOKEN_MISSING' });
  for (const authorization of [`Bearer ${text}`, `bearer ${text}`, `BEARER   ${text}`])
    assert.deepEqual(await authenticate({ authorization, address: local }), {
      tenant: 'team-a',
      role: 'read',
      token: /^kiln_(.{12})_/.exec(text)?.[1],
    });
});

test('a token that was made for days lets in for so long, and then is told why it does not', async (context) => {
  await using tokens = await openTokens();
  const { text } = await tokens.folder.create({ role: 'read', tenant: 'one', name: '', days: 2 });
  const credentials = { authorization: `Bearer ${text}`, address: local };
  const hourMs = 3600 * 1000;
  context.mock.timers.enable({ apis: ['Date'], now: Date.now() + 48 * hourMs - 60_000 });
  assert.equal((await tokens.authenticate(credentials)).tenant, 'one');
  context.mock.timers.setTime(Date.now() + 61_000);
  const expired = { code: 'TOKEN_INVALID', message: /^The token has expired: 20.*Z\.$/ };
  await assert.rejects(tokens.authenticate(credentials), expired);
  // Whoever does not have it is not told.
  const authorization = `Bearer ${text.slice(0, -43)}${'A'.repeat(43)}`;
  const notOurs = { code: 'TOKEN_INVALID', message: /not one of this service/ };
  await assert.rejects(tokens.authenticate({ ...credentials, authorization }), notOurs);
});

test('a token is one to the letter, and of the scheme Bearer', async () => {
  await using tokens = await openTokens();
  const text = await tokens.make('admin');
  const other = await tokens.make('admin');
  const mixed = `kiln_${idOf(text)}_${other.slice(-43)}`;
  const expected = {
    TOKEN_MISSING: [
      ...['', 'Bearer', 'Bearer ', text, `Basic ${text}`, `Bearer${text}`, `Token ${text}`, `Bearer a b`],
      ...[`Bearer ${text} ${text}`, `Basic ${Buffer.from(`kiln:${text}`).toString('base64')}`],
    ],
    TOKEN_INVALID: [
      ...[`Bearer ${text}A`, `Bearer ${text.slice(0, -1)}`, `Bearer ${mixed}`, `Bearer "${text}"`],
      ...[`Bearer ${text},Bearer`, `Bearer kiln_0123456789ab_${text.slice(-43)}`, 'Bearer undefined'],
      `Bearer ${'A'.repeat(15_000)}`,
    ],
  };
  for (const [code, values] of Object.entries(expected)) {
    for (const authorization of values) {
      const refused = tokens.authenticate({ authorization, address: local });
      await assert.rejects(refused, { code }, authorization);
      await refused.catch((error: Error) => assert.ok(!error.message.includes(text.slice(-43))));
    }
  }
});
