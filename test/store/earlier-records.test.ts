import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import Sqlite from 'better-sqlite3';
import * as proto from '../../src/grpc/generated/kiln/v1/build.ts';
import { toBuildRecord } from '../../src/grpc/messages.ts';
import { recordSchema } from '../../src/http/docs/schemas.ts';
import type { BuildRecord } from '../../src/model/build.ts';
import { outputSchema } from '../../src/model/output.ts';
import { endRecord, openBuildStore } from '../../src/store/build-store.ts';
import { createFolder, verdict } from './harness.ts';

const digest = `sha256:${'5'.repeat(64)}` as const;
const times = {
  queued: '2026-01-02T03:04:05.678Z',
  leased: '2026-01-02T03:04:06.000Z',
  contextReady: '2026-01-02T03:04:07.000Z',
  buildFinished: null,
  finished: null,
};
const id = '019374f0-0000-7000-8000-000000000001';
const entry = { name: 'buildkit-v0.20.2', imageDigest: digest, versions: { buildkit: 'v0.20.2' } };
const spec = {
  dockerfile: 'Dockerfile',
  buildArgs: { A: 'b' },
  labels: {},
  tags: [],
  output: 'oci',
  noCache: true,
};
const rest = { id, verdict: null, times, entry, context: null, imageDigest: null, artifact: null };

/** As the first release wrote it, whose builds reached the network by a proxy. */
const first = {
  ...rest,
  tenant: 'default',
  state: 'running',
  spec,
  vm: { id: 'vm-1', accelerator: 'tcg' },
  egress: [
    { host: 'pkg.example.org', port: 443, address: '151.101.0.223', allowed: true, connections: 3 },
    { host: 'gone.test', port: 80, address: null, allowed: true, connections: 1 },
    { host: 'db.test', port: 5432, address: null, allowed: false, connections: 2 },
    { host: '169.254.169.254', port: 80, address: null, allowed: false, connections: 1 },
    { host: '::1', port: 80, address: null, allowed: false, connections: 1 },
  ],
};

const { output: _output, ...otherwiseSame } = spec;
const nothing = { announced: null, reason: null, bytesIn: 0, bytesOut: 0 };
const today: BuildRecord = {
  ...rest,
  ...{ requestId: null, traceparent: null },
  tenant: 'default',
  matrix: null,
  state: 'running',
  spec: {
    ...{ ...otherwiseSame, buildContexts: {}, builtinFrontend: false, network: 'default' },
    outputs: [outputSchema.parse({ type: 'oci' })],
    ...{ extraHosts: [], ulimits: [], noCacheFilter: [] },
    retry: 'infra',
  },
  secrets: { registries: [], secrets: [], sshKeys: [] },
  ...{ pushBegun: false, pushed: [] },
  vm: { id: 'vm-1', accelerator: 'tcg', network: 'vm' },
  attempts: [],
  namedContexts: [],
  egress: [
    {
      ...nothing,
      name: 'pkg.example.org',
      port: 443,
      address: '151.101.0.223',
      allowed: true,
      connections: 3,
    },
    {
      ...nothing,
      name: 'gone.test',
      port: 80,
      address: null,
      allowed: true,
      connections: 1,
      reason: 'unreachable',
    },
    { ...nothing, name: 'db.test', port: 5432, address: null, allowed: false, connections: 2 },
    { ...nothing, name: null, port: 80, address: '169.254.169.254', allowed: false, connections: 1 },
    { ...nothing, name: null, port: 80, address: '::1', allowed: false, connections: 1 },
  ],
  warnings: [],
};

/** What the migrations of each release had made of the database. */
const releases: readonly {
  readonly what: string;
  readonly done: readonly string[];
  readonly record: object;
}[] = [
  { what: 'the first release', done: ['001-builds'], record: first },
  {
    what: 'the release that made warnings part of a record',
    done: ['001-builds', '002-removed', '003-warnings'],
    record: { ...first, spec: { ...spec, builtinFrontend: false }, warnings: [] },
  },
  {
    what: 'a build that no VM had',
    done: ['001-builds'],
    record: { ...first, state: 'queued', vm: null, egress: [] },
  },
];

for (const { what, done, record } of releases) {
  test(`a record of ${what} is read with all that both doors promise, and can be ended`, async () => {
    await using folder = await createFolder();
    writeDatabase(join(folder.path, 'kiln.db'), done, record);
    await using store = await openBuildStore(folder.path);
    const read = await store.get(id);
    const { state, vm, egress } = record as Pick<BuildRecord, 'state' | 'vm' | 'egress'>;
    const expected = { ...today, state, ...(vm ? {} : { vm, egress }) };
    assert.deepEqual(read, expected);
    assert.deepEqual(recordSchema.parse(read), expected);
    const sent = proto.BuildRecord.decode(proto.BuildRecord.encode(toBuildRecord(read)).finish());
    assert.equal(sent.egress.length, egress.length);
    assert.equal(sent.vm?.network, vm ? proto.StepNetwork.STEP_NETWORK_VM : undefined);
    assert.equal(sent.spec?.network, proto.Network.NETWORK_DEFAULT);
    for (const tenant of [null, 'default'])
      assert.deepEqual((await store.list({ tenant, limit: 10 })).builds, [expected]);
    assert.deepEqual((await store.list({ tenant: 'other', limit: 10 })).builds, []);
    const [left] = await store.listUnfinished();
    const ended = endRecord(left ?? expected, verdict, '2026-01-02T03:04:08.000Z');
    await store.update(ended);
    assert.deepEqual(await store.get(id), ended);
    assert.deepEqual(ended?.egress, expected.egress);
  });
}

/** The tables as those releases made them. */
function writeDatabase(path: string, done: readonly string[], record: object): void {
  const sqlite = new Sqlite(path);
  sqlite.exec(`
    CREATE TABLE kysely_migration (name varchar(255) NOT NULL PRIMARY KEY, timestamp varchar(255) NOT NULL);
    CREATE TABLE kysely_migration_lock (id varchar(255) NOT NULL PRIMARY KEY, is_locked integer DEFAULT 0 NOT NULL);
    INSERT INTO kysely_migration_lock (id, is_locked) VALUES ('migration_lock', 0);
    CREATE TABLE build (id text PRIMARY KEY, state text NOT NULL, created text NOT NULL, record text NOT NULL);
    CREATE INDEX build_state ON build (state);
  `);
  if (done.includes('002-removed')) {
    sqlite.exec(`
      ALTER TABLE build ADD COLUMN finished text; ALTER TABLE build ADD COLUMN artifact text;
      ALTER TABLE build ADD COLUMN removed text;
      CREATE INDEX build_kept ON build (removed, finished); CREATE INDEX build_artifact ON build (artifact);
    `);
  }
  const insert = sqlite.prepare('INSERT INTO kysely_migration (name, timestamp) VALUES (?, ?)');
  for (const name of done) insert.run(name, '2026-01-01T00:00:00.000Z');
  const { state } = record as { state: string };
  sqlite
    .prepare('INSERT INTO build (id, state, created, record) VALUES (?, ?, ?, ?)')
    .run(id, state, times.queued, JSON.stringify(record));
  sqlite.close();
}
