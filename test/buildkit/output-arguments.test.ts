import assert from 'node:assert/strict';
import { test } from 'node:test';
import { outputArguments } from '../../src/buildkit/output-arguments.ts';
import { type BuildSpecInput, parseSpec } from '../../src/model/spec.ts';

for (const [what, spec, expected] of [
  ['nothing', {}, []],
  [
    'a tar for docker load, with the tags',
    { outputs: [{ type: 'docker' }], tags: ['a:1', 'b'] },
    ['type=docker,"name=a:1,b"'],
  ],
  ['files', { outputs: [{ type: 'local' }], tags: ['a'] }, ['type=tar']],
  [
    'an image, kept and pushed; what is pushed comes last',
    { outputs: [{ type: 'image', names: ['r.test/a:1', 'r.test/a:2'] }, { type: 'oci' }] },
    ['type=oci', 'type=image,"name=r.test/a:1,r.test/a:2",push=true'],
  ],
  [
    'an image that is pushed by its tags',
    { outputs: [{ type: 'image' }], tags: ['r.test/a'] },
    ['type=image,name=r.test/a,push=true'],
  ],
  [
    'names on this machine apart, as they are without TLS',
    {
      outputs: [
        { type: 'image', names: ['host.kiln.internal:5000/a', 'r.test/a', 'host.kiln.internal.test/a'] },
      ],
    },
    [
      'type=image,"name=r.test/a,host.kiln.internal.test/a",push=true',
      'type=image,name=host.kiln.internal:5000/a,push=true,registry.insecure=true',
    ],
  ],
  [
    'everything that an image may have',
    {
      outputs: [
        {
          ...{ type: 'oci', compression: 'zstd', compressionLevel: 3, forceCompression: true },
          ...{ ociMediaTypes: true, rewriteTimestamp: true },
          annotations: { a: 'x,"y"', 'index:b': 'c=d' },
        },
      ],
    },
    [
      'type=oci,compression=zstd,compression-level=3,force-compression=true,oci-mediatypes=true,rewrite-timestamp=true,"annotation.a=x,""y""",annotation-index.b=c=d',
    ],
  ],
] satisfies [string, BuildSpecInput, string[]][]) {
  test(`buildctl is asked for ${what}`, () => {
    assert.deepEqual(
      outputArguments(parseSpec(spec)),
      expected.map((output) => `--output=${output}`),
    );
  });
}
