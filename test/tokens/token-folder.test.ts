import assert from 'node:assert/strict';
import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseToken } from '../../src/tokens/token.ts';
import { TokenFolder } from '../../src/tokens/token-folder.ts';
import { idOf, openTokens } from './harness.ts';

const request = { role: 'build', tenant: 'team-a', name: 'CI', days: null } as const;

test('tokens are required from the first one on, also when the last one is revoked', async () => {
  await using tokens = await openTokens();
  const { folder } = tokens;
  assert.equal(await folder.required(), false);
  assert.deepEqual(await folder.list(), []);
  assert.equal(await folder.required(), false, 'looking makes nothing');
  const { id } = await folder.create(request);
  assert.equal(await folder.required(), true);
  await folder.revoke(id);
  assert.deepEqual(await folder.list(), []);
  assert.equal(await folder.required(), true);
});

test('a data folder that cannot be has no tokens', async () => {
  assert.equal(await new TokenFolder('/dev/null/kiln').required(), false);
  assert.deepEqual(await new TokenFolder('/dev/null/kiln').list(), []);
});

test('a token is kept for the service alone to read, without its secret', async () => {
  await using tokens = await openTokens();
  const { folder } = tokens;
  const { id, text } = await folder.create(request);
  const names = await readdir(folder.path);
  assert.deepEqual(names, [`${id}.json`]);
  const path = join(folder.path, `${id}.json`);
  assert.equal((await stat(folder.path)).mode & 0o777, 0o700);
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  const kept = await readFile(path, 'utf8');
  assert.ok(!kept.includes(parseToken(text)?.secret ?? assert.fail()));
  const found = await folder.find(id);
  assert.deepEqual([found?.role, found?.tenant, found?.name], ['build', 'team-a', 'CI']);
});

test('another folder object on the same data sees each change at once: the command runs beside the service', async () => {
  await using tokens = await openTokens();
  const service = new TokenFolder(tokens.data);
  const { id } = await tokens.folder.create(request);
  assert.equal((await service.find(id))?.id, id);
  await tokens.folder.revoke(id);
  assert.equal(await service.find(id), null);
});

test('tokens that are made and revoked at once do not lose one another', async () => {
  await using tokens = await openTokens();
  const { folder } = tokens;
  const first = await Promise.all(Array.from({ length: 20 }, () => folder.create(request)));
  const changes = [...first.map(({ id }) => folder.revoke(id)), folder.create(request)];
  await Promise.all(changes);
  assert.equal((await folder.list()).length, 1);
});

test('the list has the oldest first, and leaves out what is no token', async () => {
  await using tokens = await openTokens();
  const { folder } = tokens;
  const made: string[] = [];
  for (let count = 0; count < 3; count += 1) {
    made.push(idOf(await tokens.make('read')));
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  for (const name of ['0123456789ab.new', 'README', '.json', '..json'])
    await writeFile(join(folder.path, name), 'x');
  assert.deepEqual(
    (await folder.list()).map(({ id }) => id),
    made,
  );
});

test('what is no id reaches no file', async () => {
  await using tokens = await openTokens();
  const { folder } = tokens;
  await folder.create(request);
  await writeFile(join(tokens.data, 'other.json'), '{}');
  for (const id of ['../other', '', '.', 'ABCDEF012345', '0123456789ab'])
    await assert.rejects(folder.revoke(id), { code: 'NOT_FOUND' }, id);
  assert.ok((await readdir(tokens.data)).includes('other.json'));
  assert.equal((await folder.list()).length, 1);
});

for (const [what, damage] of [
  ['cut short', (text: string) => text.slice(0, 20)],
  ['empty', () => ''],
  ['of a higher role that does not exist', (text: string) => text.replace('"build"', '"owner"')],
  ['of another token', (text: string) => text.replace(/"id":"[0-9a-f]{12}"/, '"id":"0123456789ab"')],
  ['without a hash', (text: string) => text.replace(/,"secretHash":"[0-9a-f]+"/, '')],
] as const) {
  test(`a token whose file is ${what} lets nobody in, is told by its path, and can be revoked`, async () => {
    await using tokens = await openTokens();
    const { folder, authenticate } = tokens;
    const text = await tokens.make('build');
    const path = join(folder.path, `${idOf(text)}.json`);
    const before = await readFile(path, 'utf8');
    assert.notEqual(damage(before), before);
    await writeFile(path, damage(before));
    const damaged = { message: `${path} is damaged; revoke the token ${idOf(text)} and make another.` };
    await assert.rejects(folder.list(), damaged);
    await assert.rejects(authenticate({ authorization: `Bearer ${text}`, address: '127.0.0.1' }), damaged);
    await folder.revoke(idOf(text));
    assert.deepEqual(await folder.list(), []);
  });
}
