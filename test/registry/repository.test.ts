import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nameOf, parseRepository } from '../../src/registry/repository.ts';

const repositories = [
  ['registry.example.org/archive/kiln', 'registry.example.org/archive/kiln', false],
  ['registry.example.org:5000/kiln', 'registry.example.org:5000/kiln', false],
  ['someone/kiln', 'docker.io/someone/kiln', false],
  ['127.0.0.1:5000/kiln', '127.0.0.1:5000/kiln', true],
  ['localhost:5000/kiln', 'localhost:5000/kiln', true],
  ['inside.example.org:5000/kiln', 'inside.example.org:5000/kiln', true],
] as const;
for (const [text, name, plainHttp] of repositories) {
  test(`${text} is ${name}, over ${plainHttp ? 'plain HTTP' : 'TLS'}`, () => {
    const repository = parseRepository(text, ['inside.example.org:5000']);
    assert.equal(nameOf(repository), name);
    assert.equal(repository.plainHttp, plainHttp);
  });
}

for (const text of [
  '',
  'registry.example.org/kiln:v1',
  `kiln@sha256:${'0'.repeat(64)}`,
  'A/B',
  'https://a/b',
  'a b',
]) {
  test(`'${text}' is no repository`, () => {
    assert.throws(() => parseRepository(text), {
      code: 'REF_INVALID',
      message: /write it as registry\.example/,
    });
  });
}

test('a registry beyond this machine is spoken to over plain HTTP where it is named with its port, and not otherwise', () => {
  const plain = (text: string): boolean =>
    parseRepository(text, ['registry.internal:5000', 'plain.example.org']).plainHttp;
  assert.ok(plain('registry.internal:5000/kiln'));
  assert.ok(plain('plain.example.org/kiln'));
  assert.ok(!plain('registry.internal/kiln'));
  assert.ok(!plain('plain.example.org:5000/kiln'));
});
