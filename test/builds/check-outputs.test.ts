import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkOutputs } from '../../src/builds/check-outputs.ts';
import { capabilitiesOf } from '../../src/catalog/capabilities.ts';
import type { Version } from '../../src/catalog/version.ts';
import { KilnError } from '../../src/model/error.ts';
import { type BuildSpecInput, parseSpec } from '../../src/model/spec.ts';

const entry = (...version: Version) => ({
  name: `buildkit-v${version.join('.')}`,
  capabilities: capabilitiesOf(version),
});
const [today, v12, v10, v8] = [entry(0, 20, 2), entry(0, 12, 5), entry(0, 10, 6), entry(0, 8, 3)];
const image = { type: 'image' as const, names: ['r.test/a'] };

for (const [what, spec, entries] of [
  ['nothing', {}, [v8]],
  ['one output of an old entry', { outputs: [image] }, [v8, today]],
  ['several outputs', { outputs: [image, { type: 'oci' }] }, [today]],
  ['compression of v0.10', { outputs: [{ type: 'oci', compression: 'zstd', compressionLevel: 22 }] }, [v10]],
] satisfies [string, BuildSpecInput, (typeof today)[]][]) {
  test(`${what} may be asked for`, () => checkOutputs(parseSpec(spec), entries));
}

for (const [what, spec, entries, message] of [
  [
    'two kept outputs',
    { outputs: [{ type: 'oci' }, { type: 'local' }] },
    [today],
    /one of docker, oci, local and tar is kept/,
  ],
  ['a push without a name', { outputs: [{ type: 'image' }] }, [today], /needs a name/],
  [
    'a push without a network',
    { outputs: [image], network: 'none' },
    [today],
    /network=none reaches no registry/,
  ],
  [
    'several outputs before v0.13',
    { outputs: [image, { type: 'oci' }] },
    [today, v12],
    /buildkit-v0.12.5 knows one output alone; take v0.13.0/,
  ],
  [
    'names that make two outputs before v0.13',
    { outputs: [{ type: 'image', names: ['r.test/a', 'host.kiln.internal:5000/a'] }] },
    [v12],
    /one output alone/,
  ],
  [
    'times before v0.13',
    { outputs: [{ type: 'oci', rewriteTimestamp: true }] },
    [v12],
    /knows no rewrite-timestamp; take v0.13.0/,
  ],
  [
    'annotations before v0.11',
    { outputs: [{ type: 'oci', annotations: { a: 'b' } }] },
    [v10],
    /knows no annotations; take v0.11.0/,
  ],
  ['attestations before v0.11', { provenance: 'min' }, [v10], /knows no attestations; take v0.11.0/],
  ['limits of steps before v0.10', { ulimits: ['nofile=1'] }, [v8], /knows no limits of steps; take v0.10.0/],
  [
    'an SBOM for docker load',
    { sbom: {}, outputs: [{ type: 'docker' }] },
    [today],
    /docker load knows no provenance/,
  ],
  ['compression before v0.10', { outputs: [{ type: 'oci', compression: 'zstd' }] }, [v8], /take v0.10.0/],
] satisfies [string, BuildSpecInput, (typeof today)[], RegExp][]) {
  test(`${what} is refused before anything is sent`, () => {
    assert.throws(() => checkOutputs(parseSpec(spec), entries), { code: 'PARAM_INVALID', message });
  });
}

for (const name of ['localhost:5000/a', '127.0.0.1:5000/a', '127.9.9.9/a', 'localhost/a'])
  test(`row 66: a push to ${name} is refused, as that is the VM`, () => {
    const spec = parseSpec({ outputs: [{ type: 'image', names: [name] }] });
    assert.throws(
      () => checkOutputs(spec, [today]),
      (error) => {
        assert.ok(error instanceof KilnError);
        assert.deepEqual([error.code, error.details.field], ['REGISTRY_FORBIDDEN', 'outputs']);
        assert.match(error.message, /host\.kiln\.internal:PORT, where KILN_EGRESS_ALLOW/);
        return true;
      },
    );
  });

for (const [outputs, code, message] of [
  [[{ type: 'image', names: ['A B'] }], 'REF_INVALID', /outputs\.0\.names\.0.*image reference/],
  [[{ type: 'oci', compression: 'gzip', compressionLevel: 10 }], 'PARAM_INVALID', /at most 9/],
  [[{ type: 'oci', annotations: { 'a,b': 'c' } }], 'PARAM_INVALID', /keys are lower-case letters/],
  [[{ type: 'oci', annotations: { a: 'b\nc' } }], 'PARAM_INVALID', /one line/],
  [Array.from({ length: 6 }, () => image), 'PARAM_INVALID', /at most 5/],
  [[{ type: 'gzip' }], 'PARAM_INVALID', /type/],
] as const) {
  test(`${JSON.stringify(outputs).slice(0, 60)} is refused by the schema`, () => {
    assert.throws(() => parseSpec({ outputs }), { code, message });
  });
}
