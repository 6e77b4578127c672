import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseImageReference } from '../../src/model/image-reference.ts';

const digest = `sha256:${'a'.repeat(64)}`;

for (const [text, ...parts] of [
  ['alpine', 'docker.io', 'library/alpine', undefined, undefined],
  ['a/b__c-d---e.f:1.0-x_y', 'docker.io', 'a/b__c-d---e.f', '1.0-x_y', undefined],
  ['Ghcr.io:80/a/b/c', 'Ghcr.io:80', 'a/b/c', undefined, undefined],
  ['localhost/a', 'localhost', 'a', undefined, undefined],
  ['a--b.example/x', 'a--b.example', 'x', undefined, undefined],
  [`host.test:5000/a:t@${digest}`, 'host.test:5000', 'a', 't', digest],
  ['a'.repeat(200), 'docker.io', `library/${'a'.repeat(200)}`, undefined, undefined],
] as const) {
  test(`'${text.slice(0, 40)}' is the name of an image`, () => {
    const { domain, repository, tag, digest: found } = parseImageReference(text) ?? {};
    assert.deepEqual([domain, repository, tag, found], parts);
  });
}

// Of these the library's own pattern makes nothing in a lifetime; the deadline of a test's file would end it.
for (const text of [
  `${'a'.repeat(40)}!`,
  `${'a'.repeat(200)}/`,
  `host.test/${'a-'.repeat(60)}`,
  `${'a.'.repeat(100)}!`,
  `${'a/'.repeat(100)}!`,
  `${'a'.repeat(60)}:`,
  `${'a'.repeat(60)}:t@sha256:${'a'.repeat(31)}`,
  `A/${'a'.repeat(60)}!`,
  `${'a-'.repeat(32_000)}!`,
  'a'.repeat(64 * 1024),
]) {
  test(`'${text.slice(0, 20)}', ${text.length} characters, is none, which is told at once`, () => {
    assert.equal(parseImageReference(text), null);
  });
}
for (const text of ['', 'A/b', 'a___b', 'a:', '-a', 'a-', 'a//b', 'a:b/c', 'a'.repeat(64), 'a'.repeat(300)]) {
  test(`'${text.slice(0, 20)}' is none`, () => assert.equal(parseImageReference(text), null));
}
