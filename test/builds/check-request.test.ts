import assert from 'node:assert/strict';
import { test } from 'node:test';
import { buildctlArguments } from '../../src/buildkit/buildctl-arguments.ts';
import { checkWithoutContext, type RequestRules, sealRequest } from '../../src/builds/check-request.ts';
import { verdictOfExit } from '../../src/builds/verdict.ts';
import { capabilitiesOf } from '../../src/catalog/capabilities.ts';
import type { Version } from '../../src/catalog/version.ts';
import { openStaging } from '../../src/context/context-staging.ts';
import type { BuildRequest } from '../../src/model/builds.ts';
import { type BuildSpecInput, parseSpec } from '../../src/model/spec.ts';
import { inChunks, Staging } from '../context/staging.ts';
import { file, tar } from '../context/tar.ts';
import { capabilities } from '../fleet/fleet-of-one.ts';

const rules: RequestRules = {
  policy: { customFrontends: true },
  builtinFrontend: false,
  maxTimeoutSeconds: 600,
  findEntry: (asked = 'v1') => ({ name: `buildkit-${asked}`, capabilities }),
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

const digest = `sha256:${'a'.repeat(64)}` as const;
const layout = tar(
  file('oci-layout', '{}'),
  file('index.json', JSON.stringify({ manifests: [{ digest }] })),
  file(`blobs/${digest.replace(':', '/')}`, '{}'),
);

/** A request with two named archives, one of them an image, staged by the real guard. */
async function withContexts(staging: Staging, spec: BuildSpecInput): Promise<BuildRequest> {
  const context = await openStaging({
    ...{ directory: staging.directory, minFreeBytes: 0, signal: new AbortController().signal },
    limits: { maxBytes: 1e9, maxUploadBytes: 1e9, maxEntries: 100 },
  });
  await context.add('lib', { bytes: inChunks(tar(file('/a'))), declared: null });
  await context.add('alpine:3', { bytes: inChunks(layout), declared: null });
  return { spec: parseSpec(spec), context, dockerfile: plain };
}

test('of named contexts the record tells name and kind, and where from without queries; buildctl is told all', async () => {
  await using staging = await Staging.create();
  const buildContexts = {
    'docker.io/library/src': 'https://h.test/a.git?sig=secret#main',
    one: 'https://h.test/one.txt',
    base: 'docker-image://busybox',
  };
  const sealed = await sealRequest(await withContexts(staging, { buildContexts }), rules);
  await using _context = sealed.context;
  assert.deepEqual(
    sealed.namedContexts.map(({ name, kind, archive }) => [name, kind, archive?.entries]),
    [
      ['lib', 'folder', 1],
      ['alpine:3', 'oci-layout', 3],
      ['src', 'git', undefined],
      ['one', 'http', undefined],
      ['base', 'docker-image', undefined],
    ],
  );
  assert.equal(sealed.namedContexts[0]?.archive?.warnings.length, 1);
  assert.deepEqual(sealed.sources, buildContexts);
  assert.doesNotMatch(JSON.stringify(sealed.spec), /secret/);
  // What is shown is a spec, too.
  parseSpec(sealed.spec);
});

test('a BuildKit that is too old for named contexts, or for images among them, is told of, and nothing is left', async () => {
  await using staging = await Staging.create();
  const versions: Record<string, Version> = { old: [0, 8, 3], middle: [0, 10, 6], new: [0, 11, 0] };
  const findEntry: RequestRules['findEntry'] = (asked = 'new') => ({
    name: asked,
    capabilities: capabilitiesOf(versions[asked] ?? [0, 0, 0]),
  });
  const under = { ...rules, findEntry };
  const spec = parseSpec({ entry: 'old', buildContexts: { a: 'docker-image://b' } });
  const tooOld = {
    code: 'PARAM_INVALID',
    message: /^The BuildKit of old knows no named contexts; take v0\.10\.0/,
  };
  await assert.rejects(sealRequest({ spec, context: null, dockerfile: plain }, under), tooOld);
  const noImages = {
    code: 'PARAM_INVALID',
    message: /^The context 'alpine:3' .* of middle does not take; take v0\.11\.0/,
  };
  await assert.rejects(sealRequest(await withContexts(staging, { entry: 'middle' }), under), noImages);
  // Each entry of a matrix must know them.
  const matrix = { ...(await withContexts(staging, {})), entries: ['new', 'middle'] };
  await assert.rejects(sealRequest(matrix, under), noImages);
  assert.deepEqual(await staging.files(), []);
  const taken = await sealRequest(await withContexts(staging, { entry: 'new' }), under);
  await taken.context?.[Symbol.asyncDispose]();
});

test('the verdict of a build whose frontend could not be pulled says so, and what helps', () => {
  const unknown = {
    ...{ failedStep: null, oomKills: 0, leastFreeBytes: null, refusal: null },
    ...{ memoryMiB: 2048, diskBytes: 1e9 },
  };
  const missingFrontend = 'docker.io/docker/dockerfile:1';
  const { message, code } = verdictOfExit({ ...unknown, exitCode: 1, missingFrontend });
  assert.equal(code, null);
  for (const word of [
    'docker.io/docker/dockerfile:1',
    'KILN_REGISTRY_MIRRORS',
    'KILN_EGRESS_ALLOW',
    'builtin-frontend=true',
  ])
    assert.ok(message.includes(word), message);
  const plain = verdictOfExit({ ...unknown, exitCode: 1, missingFrontend: null });
  assert.equal(plain.message, 'buildctl exited with 1.');
});

test('more time than this service gives a build is refused before its context is read', () => {
  const ask = (timeoutSeconds: number): unknown =>
    checkWithoutContext({ spec: parseSpec({ timeoutSeconds }), dockerfile: plain }, rules);
  ask(600);
  assert.throws(() => ask(601), { code: 'PARAM_INVALID', details: { field: 'timeout', limit: 600 } });
});
