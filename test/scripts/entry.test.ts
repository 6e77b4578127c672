import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseReleaseRecipe } from '../../scripts/entry/dockerfile.ts';
import { type EntryInputs, formatEntry, stampedCommit } from '../../scripts/entry/format-entry.ts';
import { chooseRelease, type Release } from '../../scripts/entry/toolchain.ts';
import { parsePins } from '../../src/catalog/pins.ts';

/** Lines of BuildKit's own Dockerfiles; the braces around names are left out. */
const dockerfiles = {
  'v0.8.3': [
    'ARG RUNC_VERSION=v1.0.0-rc93\nFROM --platform=$BUILDPLATFORM tonistiigi/xx:golang@sha256:6f7d AS xgo\nFROM --platform=$BUILDPLATFORM golang:1.13-buster AS gobuild-minimal\nARG RUNC_VERSION\n',
    { runc: '1.0.0-rc93', goLine: '1.13' },
  ],
  'v0.9.3': [
    'ARG RUNC_VERSION=v1.0.0\nFROM --platform=$BUILDPLATFORM golang:1.16-alpine AS golatest\nFROM --platform=$BUILDPLATFORM golang:1.17beta1-alpine AS go-windows-arm64\n',
    { runc: '1.0.0', goLine: '1.16' },
  ],
  'v0.20.2': [
    'ARG RUNC_VERSION=v1.2.5\nARG GO_VERSION=1.23\nARG ALPINE_VERSION=3.21\nFROM --platform=$BUILDPLATFORM golang:$GO_VERSION-alpine$ALPINE_VERSION AS golatest\n',
    { runc: '1.2.5', goLine: '1.23' },
  ],
} as const;

for (const [version, [text, expected]] of Object.entries(dockerfiles)) {
  test(`the Dockerfile of ${version} says which runc and Go it takes`, () => {
    assert.deepEqual(parseReleaseRecipe(text), expected);
  });
}

test('what a Dockerfile does not say is named', () => {
  assert.throws(() => parseReleaseRecipe('ARG GO_VERSION=1.23\n'), /no ARG RUNC_VERSION/);
  assert.throws(() => parseReleaseRecipe('ARG RUNC_VERSION=v1.2.5\nFROM alpine AS git\n'), /which Go/);
});

const day = (text: string): Date => new Date(text);
const served: readonly Release[] = [
  { name: 'go1.20', time: day('2023-02-01') },
  { name: 'go1.20.1', time: day('2023-02-10') },
  { name: 'go1.20.2', time: null },
  { name: 'go1.20.3', time: day('2023-04-01') },
];

for (const [when, expected] of [
  ['2023-02-05', { name: 'go1.20', exact: true }],
  ['2023-05-01', { name: 'go1.20.3', exact: true }],
  // Whether go1.20.2 was there already is not known.
  ['2023-02-20', { name: 'go1.20.1', exact: false }],
  ['2023-03-20', { name: 'go1.20.3', exact: false }],
  ['2022-01-01', { name: 'go1.20', exact: false }],
] as const) {
  test(`a BuildKit of ${when} was built with ${expected.exact ? '' : 'about '}${expected.name}`, () => {
    assert.deepEqual(chooseRelease(served, day(when)), expected);
  });
}

test('a line of Go that is not served gives no toolchain', () => {
  assert.equal(chooseRelease([{ name: 'go1.14', time: null }], day('2020-06-01')), null);
  assert.equal(chooseRelease([], day('2020-06-01')), null);
});

const commit = '59923ef18c98053ddb1acf23ecba10344056c28e';

test("runc's commit is stamped as its own Makefile does", () => {
  const described = 'COMMIT ?= $(shell git describe --dirty --long --always)\n';
  assert.equal(stampedCommit(described, '1.2.5', commit), 'v1.2.5-0-g59923ef1');
  assert.equal(stampedCommit('COMMIT_NO := $(shell git rev-parse HEAD)\n', '1.0.0-rc93', commit), commit);
});

const hash = 'h1:qIeR47eQ1tzI1rwz0on3Xx2enRw/1CKjFhoONVcTlMA=';
const inputs: EntryInputs = {
  version: 'v0.21.1',
  buildkit: { directory: '', hash, time: day('2025-04-29'), commit },
  runc: { directory: '', hash, time: day('2025-03-17'), commit },
  runcVersion: '1.2.6',
  makefile: 'git describe',
  goLine: '1.23',
  toolchain: { name: 'go1.23.8', exact: true, hash },
};

test('an entry is whole, unbuilt, and says from which day its Go is', () => {
  const text = formatEntry(inputs);
  const { pins, state } = parsePins(text, '.env');
  assert.equal(state, 'unbuilt');
  assert.equal(pins.RUNC_COMMIT, 'v1.2.6-0-g59923ef1');
  assert.equal(pins.GO_TOOLCHAIN, 'go1.23.8');
  assert.match(text, /^# BuildKit's Dockerfile names Go 1\.23; the newest of it on 2025-04-29\.$/m);
  assert.doesNotMatch(text, /Not known/);
});

test('what could not be found out is said in the entry, and left empty', () => {
  const text = formatEntry({
    ...inputs,
    buildkit: { ...inputs.buildkit, commit: null },
    runc: { ...inputs.runc, commit: null },
    toolchain: { ...inputs.toolchain, exact: false },
  });
  const { pins } = parsePins(text, '.env');
  assert.equal(pins.BUILDKIT_REVISION, '');
  assert.equal(pins.RUNC_COMMIT, '');
  assert.equal(text.match(/^# Not known: .*\.$/gm)?.length, 3);
  assert.match(text, /of what is served of it this is nearest to 2025-04-29\.$/m);
});
