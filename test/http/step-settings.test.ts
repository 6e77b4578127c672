import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseFields } from '../../src/http/upload/fields.ts';
import { KilnError } from '../../src/model/error.ts';
import { type BuildSpecInput, parseSpec } from '../../src/model/spec.ts';

/** Fields as they come, NAME=value each. */
function read(...fields: readonly string[]) {
  const all = new Map<string, string[]>();
  for (const field of fields) {
    const at = field.indexOf('=');
    const name = field.slice(0, at);
    all.set(name, [...(all.get(name) ?? []), field.slice(at + 1)]);
  }
  return parseFields(all).spec;
}

for (const [fields, spec] of [
  [['provenance=true'], { provenance: 'min' }],
  [['provenance=mode=max'], { provenance: 'max' }],
  [['provenance=false', 'sbom=false'], {}],
  [['sbom=true'], { sbom: {} }],
  [['sbom=generator=r.test/scan:1'], { sbom: { generator: 'r.test/scan:1' } }],
  [['attest=type=provenance,mode=max', 'attest=type=sbom'], { provenance: 'max', sbom: {} }],
  [
    ['add-host=db:10.0.0.5', 'add-host=six=::1', 'add-host=v6:fe80::1'],
    { extraHosts: ['db=10.0.0.5', 'six=::1', 'v6=fe80::1'] },
  ],
  [['shm-size=64m'], { shmBytes: 64 * 1024 * 1024 }],
  [['shm-size=1024'], { shmBytes: 1024 }],
  [['shm-size=1GB'], { shmBytes: 1024 ** 3 }],
  [['ulimit=nofile=1024:2048', 'ulimit=core=-1'], { ulimits: ['nofile=1024:2048', 'core=-1'] }],
  [['no-cache-filter=a,b', 'no-cache-filter=c'], { noCacheFilter: ['a', 'b', 'c'] }],
] satisfies [string[], BuildSpecInput][]) {
  test(`${fields.join(' ')} is taken as docker buildx build takes it`, () => {
    assert.deepEqual(read(...fields), parseSpec(spec));
  });
}

for (const [field, message] of [
  ['provenance=mode=most', /mode=min or mode=max/],
  ['provenance=mode=max,builder-id=x', /mode=min or mode=max/],
  ['sbom=maybe', /generator=IMAGE/],
  ['attest=type=licence', /known are provenance and sbom/],
  ['add-host=db', /HOST=ADDRESS/],
  ['add-host=db:host-gateway', /HOST=ADDRESS/],
  ['add-host=a,b=10.0.0.5', /HOST=ADDRESS/],
  ['shm-size=big', /64m or 1g/],
  ['shm-size=0', /at least 1 byte/],
  ['ulimit=files=1', /with one of core/],
  ['ulimit=nofile=2:1', /SOFT not above HARD/],
  ['ulimit=nofile=-1:5', /SOFT not above HARD/],
  ['no-cache-filter=--x', /name of a stage/],
] as const) {
  test(`${field} is refused, by its name`, () => {
    assert.throws(
      () => read(field),
      (error) => {
        assert.ok(error instanceof KilnError);
        assert.equal(error.code, 'PARAM_INVALID');
        assert.match(error.message, message);
        assert.ok(error.message.startsWith(`Field '${field.slice(0, field.indexOf('='))}`), error.message);
        return true;
      },
    );
  });
}
