import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BuildSpec, Output, OutputSpec } from '../../src/grpc/generated/kiln/v1/build.ts';
import { toBuildRecord } from '../../src/grpc/messages.ts';
import { toSpec } from '../../src/grpc/spec.ts';
import { parseSpec } from '../../src/model/spec.ts';
import { record } from '../simulated-builds.ts';

const image = OutputSpec.create({
  ...{ type: Output.OUTPUT_IMAGE, names: ['r.test/a:1'], compression: 'zstd', compressionLevel: 3 },
  ...{ forceCompression: true, ociMediaTypes: true, rewriteTimestamp: true },
  annotations: [{ name: 'index:a', value: 'b' }],
});
const local = OutputSpec.create({ type: Output.OUTPUT_LOCAL });

test('every part of an output arrives, and the record tells the same', () => {
  const spec = toSpec(BuildSpec.create({ outputs: [image, local] }));
  assert.deepEqual(spec, {
    ...parseSpec({}),
    outputs: [
      {
        ...{ type: 'image', names: ['r.test/a:1'], compression: 'zstd', compressionLevel: 3 },
        ...{ forceCompression: true, ociMediaTypes: true, rewriteTimestamp: true },
        annotations: { 'index:a': 'b' },
      },
      { type: 'local' },
    ],
  });
  const told = toBuildRecord({ ...record, spec });
  assert.deepEqual(
    told.spec?.outputs.map((output) => OutputSpec.toJSON(output)),
    [image, local].map((output) => OutputSpec.toJSON(output)),
  );
  assert.deepEqual([told.pushBegun, told.pushed], [true, [...record.pushed]]);
});

test('one word is the same as a list of it; none of both is nothing', () => {
  const one = toSpec(BuildSpec.create({ output: Output.OUTPUT_OCI })).outputs;
  assert.deepEqual(one, parseSpec({ outputs: [{ type: 'oci' }] }).outputs);
  assert.deepEqual(toSpec(BuildSpec.create({ output: Output.OUTPUT_NONE })).outputs, []);
});

for (const [what, spec, code] of [
  ['both forms at once', { output: Output.OUTPUT_OCI, outputs: [image] }, 'PARAM_INVALID'],
  ['a type that is none', { outputs: [OutputSpec.create({ type: 99 as 1 })] }, 'PARAM_INVALID'],
  ['no type', { outputs: [OutputSpec.create({})] }, 'PARAM_INVALID'],
  ['files with a name', { outputs: [OutputSpec.create({ ...local, names: ['a'] })] }, 'PARAM_INVALID'],
  ['a name that is none', { outputs: [OutputSpec.create({ ...image, names: ['A B'] })] }, 'REF_INVALID'],
  [
    'a compression that is none',
    { outputs: [OutputSpec.create({ ...image, compression: 'rar' })] },
    'PARAM_INVALID',
  ],
] satisfies [string, Partial<BuildSpec>, string][]) {
  test(`${what} is refused with ${code}`, () => {
    assert.throws(() => toSpec(BuildSpec.create(spec)), { code });
  });
}
