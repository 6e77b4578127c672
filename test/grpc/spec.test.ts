import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BuildSpec } from '../../src/grpc/generated/kiln/v1/build.ts';
import { toSpec } from '../../src/grpc/spec.ts';
import { KilnError } from '../../src/model/error.ts';
import { parseSpec } from '../../src/model/spec.ts';

test('an empty spec is completed with the same defaults as over HTTP', () => {
  assert.deepEqual(toSpec(undefined), parseSpec({}));
  assert.deepEqual(toSpec(BuildSpec.decode(new Uint8Array())), parseSpec({}));
});

test('every field arrives, and the last value of a name counts', () => {
  const spec = toSpec(
    BuildSpec.create({
      ...{
        entry: 'buildkit-v0.20.2',
        dockerfile: 'd/Dockerfile',
        contextDir: 'proj',
        target: 'final',
        noCache: true,
      },
      buildArgs: [
        { name: 'A', value: '1' },
        { name: 'A', value: '2' },
      ],
      labels: [{ name: 'org.x', value: 'y' }],
      buildContexts: [{ name: 'lib', value: 'https://h.test/a.git' }],
      ...{ provenance: 'max', sbom: { generator: 'scan:1' }, extraHosts: ['db=10.0.0.5'], shmBytes: 65_536 },
      ...{ ulimits: ['nofile=1024:2048'], noCacheFilter: ['a'] },
      ...{
        platform: 'linux/amd64',
        builtinFrontend: true,
        tags: ['demo:1'],
        output: 3,
        network: 2,
        ...{ retry: 2, timeoutSeconds: 9, noOutputTimeoutSeconds: 8 },
      },
    }),
  );
  assert.deepEqual(spec, {
    ...{
      entry: 'buildkit-v0.20.2',
      dockerfile: 'd/Dockerfile',
      contextDir: 'proj',
      target: 'final',
      noCache: true,
    },
    ...{ buildArgs: { A: '2' }, labels: { 'org.x': 'y' } },
    buildContexts: { lib: 'https://h.test/a.git' },
    ...{ provenance: 'max', sbom: { generator: 'scan:1' }, extraHosts: ['db=10.0.0.5'], shmBytes: 65_536 },
    ...{ ulimits: ['nofile=1024:2048'], noCacheFilter: ['a'] },
    ...{
      platform: 'linux/amd64',
      builtinFrontend: true,
      tags: ['demo:1'],
      outputs: parseSpec({ outputs: [{ type: 'oci' }] }).outputs,
      network: 'none',
      ...{ retry: 'never', timeoutSeconds: 9, noOutputTimeoutSeconds: 8 },
    },
  });
});

const refused = [
  [{ buildArgs: [{ name: 'A=B', value: '' }] }, 'PARAM_INVALID'],
  [{ tags: ['UPPER'] }, 'REF_INVALID'],
  [{ platform: 'linux/riscv64' }, 'PLATFORM_UNSUPPORTED'],
  [{ output: 99 as 1 }, 'PARAM_INVALID'],
  [{ timeoutSeconds: 0 }, 'PARAM_INVALID'],
  [{ buildContexts: [{ name: '../x', value: 'docker-image://a' }] }, 'PARAM_INVALID'],
  [{ buildContexts: [{ name: 'a', value: '/etc' }] }, 'PARAM_INVALID'],
  [
    { buildContexts: ['alpine', 'alpine:latest'].map((name) => ({ name, value: 'docker-image://a' })) },
    'PARAM_INVALID',
  ],
  [{ dockerfile: '../Dockerfile' }, 'PARAM_INVALID'],
  [{ provenance: 'some' }, 'PARAM_INVALID'],
  [{ sbom: { generator: 'A B' } }, 'REF_INVALID'],
  [{ extraHosts: ['db=,--x'] }, 'PARAM_INVALID'],
  [{ ulimits: ['nofile=2:1'] }, 'PARAM_INVALID'],
  [{ shmBytes: 0 }, 'PARAM_INVALID'],
  [{ noCacheFilter: ['a,b'] }, 'PARAM_INVALID'],
] as const;

for (const [fields, code] of refused) {
  test(`${JSON.stringify(fields)} is refused as ${code}`, () => {
    const spec = BuildSpec.create(structuredClone(fields) as Partial<BuildSpec>);
    assert.throws(
      () => toSpec(spec),
      (error) => error instanceof KilnError && error.code === code,
    );
  });
}
