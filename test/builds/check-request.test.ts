import assert from 'node:assert/strict';
import { test } from 'node:test';
import { buildctlArguments } from '../../src/buildkit/buildctl-arguments.ts';
import { type RequestRules, sealRequest } from '../../src/builds/check-request.ts';
import { verdictOfExit } from '../../src/builds/verdict.ts';
import { type BuildSpecInput, parseSpec } from '../../src/model/spec.ts';
import { capabilities } from '../fleet/fleet-of-one.ts';

const rules: RequestRules = {
  policy: { customFrontends: true },
  builtinFrontend: false,
  findEntry: (asked = 'v1') => ({ name: `buildkit-${asked}` }),
};
const forbidden = { ...rules, policy: { customFrontends: false } };
const always = { ...rules, builtinFrontend: true };
const syntax = Buffer.from('# syntax=docker/dockerfile:1\nFROM scratch\n');
const plain = Buffer.from('FROM scratch\n');

const asked = (name: string): string[] => [
  `The frontend '${name}' that this build asks for is not used: builtin-frontend is set, so BuildKit's own Dockerfile frontend builds it.`,
];
const argument = { BUILDKIT_SYNTAX: 'other/frontend' };

for (const [title, spec, dockerfile, under, warnings] of [
  ['as a field', { builtinFrontend: true }, syntax, rules, asked('docker/dockerfile:1')],
  ['as the setting of all builds', {}, syntax, always, asked('docker/dockerfile:1')],
  [
    'against a build argument',
    { builtinFrontend: true, buildArgs: argument },
    plain,
    rules,
    asked('other/frontend'),
  ],
  [
    'where other frontends are forbidden',
    { builtinFrontend: true },
    syntax,
    forbidden,
    asked('docker/dockerfile:1'),
  ],
  ['of a Dockerfile that names none', { builtinFrontend: true }, plain, rules, []],
] satisfies [string, BuildSpecInput, Buffer, RequestRules, string[]][]) {
  test(`BuildKit's own frontend, ${title}: buildctl is told, and what is ignored is said`, async () => {
    const sealed = await sealRequest({ spec: parseSpec(spec), context: null, dockerfile }, under);
    assert.equal(sealed.spec.builtinFrontend, true);
    assert.deepEqual(sealed.warnings, warnings);
    const words = buildctlArguments(sealed.spec, { capabilities, dockerfileApart: true });
    assert.ok(words.includes('--opt=cmdline='));
  });
}

test("without it the Dockerfile's frontend builds, unless it is forbidden", async () => {
  const request = { spec: parseSpec({}), context: null, dockerfile: syntax };
  const sealed = await sealRequest(request, rules);
  assert.deepEqual([sealed.spec.builtinFrontend, sealed.warnings], [false, []]);
  const words = buildctlArguments(sealed.spec, { capabilities, dockerfileApart: true });
  assert.ok(!words.some((word) => word.includes('cmdline')));
  await assert.rejects(sealRequest(request, forbidden), { code: 'FRONTEND_NOT_ALLOWED' });
});

test('the verdict of a build whose frontend could not be pulled says so, and what helps', () => {
  const { message, code } = verdictOfExit({ exitCode: 1, missingFrontend: 'docker.io/docker/dockerfile:1' });
  assert.equal(code, null);
  for (const word of [
    'docker.io/docker/dockerfile:1',
    'KILN_REGISTRY_MIRRORS',
    'KILN_EGRESS_ALLOW',
    'builtin-frontend=true',
  ])
    assert.ok(message.includes(word), message);
  assert.equal(verdictOfExit({ exitCode: 1, missingFrontend: null }).message, 'buildctl exited with 1.');
});
