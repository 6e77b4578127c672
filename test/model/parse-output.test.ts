import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseOutput } from '../../src/model/parse-output.ts';

for (const [text, expected] of [
  ['docker', { type: 'docker' }],
  ['type=docker', { type: 'docker' }],
  ['tar', { type: 'local' }],
  ['type=local', { type: 'local' }],
  ['none', null],
  ['type=cacheonly', null],
  ['type=registry,name=r.test/a:1', { type: 'image', names: ['r.test/a:1'] }],
  [
    'type=image,"name=r.test/a:1,r.test/a:2",push=true',
    { type: 'image', names: ['r.test/a:1', 'r.test/a:2'] },
  ],
  ['type=image,name=a,name=b,push=1', { type: 'image', names: ['a', 'b'] }],
  ['push=true,type=image', { type: 'image' }],
  [
    'type=oci,compression=zstd,compression-level=19,force-compression=true,oci-mediatypes=false,rewrite-timestamp=true',
    {
      ...{ type: 'oci', compression: 'zstd', compressionLevel: 19, forceCompression: true },
      ...{ ociMediaTypes: false, rewriteTimestamp: true },
    },
  ],
  [
    'type=oci,annotation.a.b=c=d,annotation-index.x=1,"annotation-manifest-descriptor.y=1,""2"""',
    { type: 'oci', annotations: { 'a.b': 'c=d', 'index:x': '1', 'manifest-descriptor:y': '1,"2"' } },
  ],
] as const) {
  test(`${text} is read`, () => {
    const { names = [], annotations = {}, ...rest } = { ...parseOutput(text) } as Record<string, object>;
    const {
      names: wantedNames = [],
      annotations: wanted = {},
      ...others
    } = { ...expected } as Record<string, object>;
    assert.deepEqual([rest, names, annotations], [others, wantedNames, wanted]);
    assert.equal(parseOutput(text) === null, expected === null);
  });
}

for (const [text, message] of [
  ['', /has no type/],
  ['gzip', /has no type/],
  ['type=__proto__', /has no type/],
  ['name=a', /has no type/],
  ['type=image,name=a', /without push=true stays in the VM/],
  ['type=docker,push=true', /kept and not pushed/],
  ['type=oci,dest=/etc/passwd', /leave dest out/],
  ['type=local,name=a', /'name' is nothing that type=local takes/],
  ['type=none,name=a', /'name' is nothing/],
  ['type=image,push=maybe', /push is 'maybe'/],
  ['type=oci,compression-level=high', /must be a number/],
  ['type=oci,registry.insecure=true', /'registry.insecure' is nothing/],
  ['type=oci,annotation-other.a=b', /'annotation-other.a' is nothing/],
  ['type=oci,tar=false', /'tar' is nothing/],
  ['type=oci,"name=a', /not NAME=value/],
  ['type=oci,,', /not NAME=value/],
] as const) {
  test(`'${text}' is refused, and says what to do`, () => {
    assert.throws(() => parseOutput(text), { code: 'PARAM_INVALID', message });
  });
}
