import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseSpec } from '../../src/model/spec.ts';
import { oldEntry } from '../simulated-entries.ts';
import { archive, assertProblem, contextPart, curl, form, formType, serve } from './harness.ts';

for (const [what, fields, outputs] of [
  ['one word', ['output=docker'], [{ type: 'docker' }]],
  ['none', ['output=none', 'output='], []],
  [
    "buildx's words, several times, and names to push to",
    ['output=type=oci,compression=zstd', 'push=r.test/a:1', 'push=r.test/a:2'],
    [
      { type: 'oci', compression: 'zstd' },
      { type: 'image', names: ['r.test/a:1', 'r.test/a:2'] },
    ],
  ],
  [
    'a name with a comma, in quotes',
    ['output=type=image,"name=r.test/a,r.test/b",push=true'],
    [{ type: 'image', names: ['r.test/a', 'r.test/b'] }],
  ],
] as const) {
  test(`outputs are taken as ${what}, in the form and in the URL (simulated builds)`, async () => {
    await using harness = await serve();
    const wanted = parseSpec({ outputs }).outputs;
    const asForm = fields.flatMap((field) => ['--form-string', field]);
    const { exit, body } = await curl(
      ['--fail-with-body', ...asForm, '-F', 'context=@-', `${harness.url}/build`],
      archive,
    );
    assert.equal(exit, 0, body);
    const query = new URLSearchParams();
    for (const field of fields) {
      const at = field.indexOf('=');
      query.append(field.slice(0, at), field.slice(at + 1));
    }
    const type = { 'Content-Type': 'application/x-tar' };
    const answer = await harness.api
      .post(`/build?${String(query)}`)
      .set(type)
      .send(archive);
    assert.equal(answer.status, 200, answer.text);
    assert.deepEqual(
      harness.builds.started.map(({ spec }) => spec.outputs),
      [wanted, wanted],
    );
  });
}

for (const [what, fields, code, message] of [
  ['a place on the disk', ['output=type=local,dest=/etc'], 'PARAM_INVALID', /leave dest out/],
  [
    'two that are kept',
    ['output=oci', 'output=docker'],
    'PARAM_INVALID',
    /one of docker, oci, local and tar/,
  ],
  ['a name that is none', ['push=A B'], 'REF_INVALID', /output/],
  ['a push to the VM itself', ['push=localhost:5000/a'], 'REGISTRY_FORBIDDEN', /host\.kiln\.internal/],
  ['a push without a network', ['push=r.test/a', 'network=none'], 'PARAM_INVALID', /no registry/],
  [
    'what an old entry does not know',
    ['output=oci', 'push=r.test/a', `buildkit=${oldEntry}`],
    'PARAM_INVALID',
    /one output alone/,
  ],
] as const) {
  test(`${what} is refused before the context is read (simulated builds)`, async () => {
    await using harness = await serve();
    const parts = fields.map((field) => ({
      name: field.slice(0, field.indexOf('=')),
      value: field.slice(field.indexOf('=') + 1),
    }));
    const body = form(...parts, { ...contextPart, value: Buffer.alloc(100_000) });
    const answer = await harness.api.post('/build').set('Content-Type', formType).send(body);
    assert.match(assertProblem(answer, 422, code).detail, message);
    assert.deepEqual([harness.builds.started, await harness.staged()], [[], []]);
  });
}
