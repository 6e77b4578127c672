import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  findSourceProblem,
  kindOfSource,
  maxNamedContexts,
  normalizeName,
  normalizeNames,
  showSource,
} from '../../src/model/named-context.ts';

const digest = `sha256:${'a'.repeat(64)}`;

for (const [name, normal] of [
  ['lib', 'lib'],
  ['base-image_2', 'base-image_2'],
  ['alpine', 'alpine'],
  ['alpine:latest', 'alpine'],
  ['alpine:3', 'alpine:3'],
  ['docker.io/library/alpine:3', 'alpine:3'],
  ['index.docker.io/library/alpine', 'alpine'],
  ['docker.io/a/b', 'a/b'],
  ['docker.io/library/a/b', 'library/a/b'],
  ['ghcr.io/a/b:latest', 'ghcr.io/a/b'],
  ['localhost:5000/x', 'localhost:5000/x'],
  [`alpine@${digest}`, `alpine@${digest}`],
  [`alpine:latest@${digest}`, `alpine:latest@${digest}`],
] as const) {
  test(`the context '${name}' is looked for as '${normal}'`, () => {
    assert.equal(normalizeName(name), normal);
  });
}

for (const [name, problem] of [
  ['', /is neither that of a stage nor that of an image/],
  ['../x', /is neither/],
  ['/etc', /is neither/],
  ['--foo', /is neither/],
  ['a b', /is neither/],
  ['a=b', /is neither/],
  ['a\0b', /'a\\u0000b', is neither/],
  ['a::linux/amd64', /is neither/],
  ['$(id)', /is neither/],
  ['__proto__', /is neither/],
  ['a'.repeat(300), /is longer than 128 characters/],
  ['Base', /must be in lower case/],
  ['context', /means something else/],
  ['scratch', /means something else/],
] as const) {
  test(`no context can be called '${name.slice(0, 20)}'`, () => {
    assert.throws(() => normalizeName(name), {
      code: 'PARAM_INVALID',
      message: problem,
      details: { field: 'buildContexts' },
    });
  });
}

test('two names that mean the same are refused, and so are too many', () => {
  const twice = { code: 'PARAM_INVALID', message: "The context 'alpine' is given twice; give it once." };
  assert.throws(() => normalizeNames(['alpine', 'docker.io/library/alpine:latest']), twice);
  const many = Array.from({ length: maxNamedContexts + 1 }, (_, index) => `n${index}`);
  assert.equal(normalizeNames(many.slice(1)).length, maxNamedContexts);
  assert.throws(() => normalizeNames(many), { message: /9 named contexts are given; at most 8 are taken/ });
});

for (const [source, kind] of [
  ['docker-image://alpine:3', 'docker-image'],
  [`docker-image://ghcr.io/a/b@${digest}`, 'docker-image'],
  ['https://host.test/a.git', 'git'],
  ['https://host.test/a.git#main:folder', 'git'],
  ['http://host.test:8080/a.git', 'git'],
  ['git://host.test/a', 'git'],
  ['https://host.test/file.txt', 'http'],
  ['https://host.test/x?file=a.git', 'http'],
] as const) {
  test(`a context may come from ${source}`, () => {
    assert.equal(findSourceProblem(source), null);
    assert.equal(kindOfSource(source), kind);
  });
}

for (const [source, problem] of [
  ['', /must be docker-image:/],
  ['/etc/passwd', /must be docker-image:/],
  ['../up', /must be docker-image:/],
  ['file:///etc/passwd', /must be docker-image:/],
  ['local:context', /must be docker-image:/],
  ['input:x', /must be docker-image:/],
  [`oci-layout://x@${digest}`, /must be docker-image:/],
  ['target:stage', /must be docker-image:/],
  ['alpine', /must be docker-image:/],
  ['https://', /must be docker-image:/],
  ['https:///x', /must be docker-image:/],
  ['https://[::1/x', /must be docker-image:/],
  ['docker-image://', /not a valid image reference/],
  ['docker-image://UPPER', /not a valid image reference/],
  ['docker-image://a --opt=x', /has blanks/],
  ['https://host.test/a\nb', /has blanks/],
  ['https://host.test/ü', /has blanks, or characters/],
  [`https://host.test/${'a'.repeat(2048)}`, /is longer than 2048/],
  ['https://me:secret@host.test/a.git', /has a user or a password/],
  ['https://token@host.test/a.git', /has a user or a password/],
  ['git@host.test:a/b.git', /needs an ssh key/],
  ['ssh://git@host.test/a.git', /needs an ssh key/],
] as const) {
  test(`no context comes from '${source.slice(0, 40)}'`, () => {
    assert.match(String(findSourceProblem(source)), problem);
  });
}

test('a query is never shown: it may be a signature', () => {
  assert.equal(
    showSource('https://h.test/a.git?sig=secret&x=1#main:dir'),
    'https://h.test/a.git?...#main:dir',
  );
  assert.equal(showSource('docker-image://alpine'), 'docker-image://alpine');
});
