import assert from 'node:assert/strict';
import { test } from 'node:test';
import { buildctlArguments } from '../../src/buildkit/buildctl-arguments.ts';
import { capabilitiesOf } from '../../src/catalog/capabilities.ts';
import type { Version } from '../../src/catalog/version.ts';
import { type BuildSpecInput, parseSpec } from '../../src/model/spec.ts';
import { capabilities } from '../fleet/fleet-of-one.ts';

const context = '/var/lib/kiln/build/context';

for (const [contextFolder, dockerfileApart, locals] of [
  ['', false, [`context=${context}`, `dockerfile=${context}`]],
  ['proj/app', false, [`context=${context}/proj/app`, `dockerfile=${context}/proj/app`]],
  ['proj', true, [`context=${context}/proj`, 'dockerfile=/var/lib/kiln/build/dockerfile']],
] as const) {
  test(`the context is the folder '${contextFolder}'${dockerfileApart ? ', the Dockerfile apart' : ''}`, () => {
    const words = buildctlArguments(parseSpec({}), { capabilities, contextFolder, dockerfileApart });
    const given = words.filter((word) => word.startsWith('--local='));
    assert.deepEqual(
      given,
      locals.map((local) => `--local=${local}`),
    );
  });
}

test('named contexts are given as buildx gives them, each archive under a name of ours', () => {
  const digest = `sha256:${'a'.repeat(64)}` as const;
  const namedContexts = [
    { name: 'alpine:3', directory: '1', imageDigest: digest },
    { name: 'lib', directory: '2', imageDigest: null },
    { name: 'ghcr.io/a/b', source: 'docker-image://busybox' },
    { name: 'src', source: 'https://host.test/a.git#main:dir' },
  ];
  const options = { capabilities, contextFolder: 'context', namedContexts, dockerfileApart: false };
  const words = buildctlArguments(parseSpec({}), options);
  assert.deepEqual(
    words.filter((word) => /context:|named-|caps/.test(word)),
    [
      '--opt=frontend.caps=moby.buildkit.frontend.contexts+forward',
      `--oci-layout=named-1=${context}/1`,
      `--opt=context:alpine:3=oci-layout://named-1@${digest}`,
      `--local=named-2=${context}/2`,
      '--opt=context:lib=local:named-2',
      '--opt=context:ghcr.io/a/b=docker-image://busybox',
      '--opt=context:src=https://host.test/a.git#main:dir',
    ],
  );
  const none = buildctlArguments(parseSpec({}), { capabilities, dockerfileApart: false });
  assert.ok(!none.some((word) => word.includes('caps')));
});

test('an old buildctl is not asked for files that it does not know', () => {
  const files = (version: Version): string[] => {
    const words = buildctlArguments(parseSpec({}), {
      capabilities: capabilitiesOf(version),
      dockerfileApart: false,
    });
    return words
      .filter((word) => /^--(metadata|ref)-file=/.test(word))
      .map((word) => word.split('=')[0] ?? '');
  };
  assert.deepEqual(files([0, 8, 3]), []);
  assert.deepEqual(files([0, 9, 0]), ['--metadata-file']);
  assert.deepEqual(files([0, 11, 1]), ['--metadata-file']);
  assert.deepEqual(files([0, 11, 2]), ['--metadata-file', '--ref-file']);
});

for (const [spec, options] of [
  [{ noCacheFilter: ['a', 'b'] }, ['no-cache=a,b']],
  [{ noCacheFilter: ['a'], noCache: true }, ['no-cache=']],
  [{ extraHosts: ['db=10.0.0.5', 'six=::1'] }, ['add-hosts=db=10.0.0.5,six=::1']],
  [{ shmBytes: 65_536 }, ['shm-size=65536']],
  [{ ulimits: ['nofile=1024:2048', 'core=-1'] }, ['ulimit=nofile=1024:2048,core=-1']],
  [{ provenance: 'max' }, ['attest:provenance=mode=max']],
  [{ sbom: {} }, ['attest:sbom=']],
  [{ sbom: { generator: 'r.test/scan:1' } }, ['attest:sbom=generator=r.test/scan:1']],
] satisfies [BuildSpecInput, string[]][]) {
  test(`${JSON.stringify(spec)} is an option of the frontend, as buildx gives it`, () => {
    const words = buildctlArguments(parseSpec(spec), { capabilities, dockerfileApart: false });
    const plain = buildctlArguments(parseSpec({}), { capabilities, dockerfileApart: false });
    assert.deepEqual(
      words.filter((word) => !plain.includes(word)),
      options.map((option) => `--opt=${option}`),
    );
  });
}
