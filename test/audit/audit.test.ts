import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { type AuditEntry, AuditLog } from '../../src/audit/audit-log.ts';
import { audit } from '../../src/audit/audited.ts';
import type { Caller } from '../../src/model/caller.ts';
import { KilnError } from '../../src/model/error.ts';
import { parseSpec } from '../../src/model/spec.ts';
import { createMemoryLogger } from '../builds/memory-logger.ts';
import { openOperations } from '../operations/open-operations.ts';
import { simulateHouse } from '../operations/simulated-house.ts';
import { record, simulateBuilds } from '../simulated-builds.ts';
import { readAudit } from './read-audit.ts';

const builder: Caller = { tenant: 'team', role: 'build', token: '0123456789ab' };
const admin: Caller = { tenant: 'default', role: 'admin' };
const dockerfile = Buffer.from('FROM scratch\n');

test('whatever changes anything is written down, by whom and how it ended; what only reads is not (simulated builds)', async () => {
  await using opened = await openOperations();
  const written: AuditEntry[] = [];
  const log = { append: async (entry: AuditEntry) => void written.push(entry) };
  const useCases = { builds: simulateBuilds(), operations: opened.operations };
  const { builds, operations } = audit(useCases, { log, logger: createMemoryLogger() });
  const started = await builds.start(builder, { spec: parseSpec({}), context: null, dockerfile });
  await builds.list(builder, { limit: 1 });
  await assert.rejects(builds.cancel(builder, 'x\n'.repeat(1000), 'why'), { code: 'NOT_FOUND' });
  const rebuilding = await operations.rebuild(admin, {
    entry: 'v0.20.2',
    dryRun: true,
    args: {},
    noCache: false,
  });
  await assert.rejects(operations.prune(builder, { dryRun: false }), { code: 'ROLE_TOO_LOW' });
  const of = { tenant: 'team', role: 'build', token: '0123456789ab' };
  assert.deepEqual(written, [
    { action: 'build.start', ...of, subject: started.id, outcome: 'ok' },
    { action: 'build.cancel', ...of, subject: written[1]?.subject ?? assert.fail(), outcome: 'NOT_FOUND' },
    {
      action: 'image.rebuild',
      tenant: 'default',
      role: 'admin',
      token: null,
      subject: rebuilding.id,
      outcome: 'ok',
    },
    { action: 'image.prune', ...of, subject: null, outcome: 'ROLE_TOO_LOW' },
  ]);
  const subject = String(written[1]?.subject);
  assert.ok(subject.length <= 128 && !subject.includes('\n'));
});

test('every use-case that changes anything is audited (simulated builds)', async () => {
  await using opened = await openOperations(simulateHouse());
  const useCases = { builds: simulateBuilds(), operations: opened.operations };
  const log = { append: async () => undefined };
  const audited = audit(useCases, { log, logger: createMemoryLogger() });
  const changed = <Use extends object>(one: Use, other: Use): string[] =>
    Object.keys(one).filter((name) => one[name as keyof Use] !== other[name as keyof Use]);
  assert.deepEqual(changed(audited.builds, useCases.builds).toSorted(), [
    'cancel',
    'cancelMatrix',
    'start',
    'startMatrix',
  ]);
  assert.deepEqual(changed(audited.operations, useCases.operations).toSorted(), [
    ...['cancel', 'prune', 'rebuild', 'resume', 'rollBack'],
  ]);
});

test('what was done is answered, also where it cannot be written down: that is logged (simulated builds)', async () => {
  await using opened = await openOperations();
  const logger = createMemoryLogger();
  const log = { append: () => Promise.reject(new KilnError('STORAGE_FULL', 'The disk is full.')) };
  const { builds } = audit({ builds: simulateBuilds(), operations: opened.operations }, { log, logger });
  const started = await builds.start(builder, { spec: parseSpec({}), context: null, dockerfile });
  assert.equal(started.id, record.id);
  assert.match(JSON.stringify(logger), /the audit log cannot be written/);
});

test('lines are added whole, in the file of their month, which nobody else reads', async () => {
  const data = await mkdtemp(join(tmpdir(), 'kiln-audit-'));
  try {
    const entry = {
      action: 'build.start',
      ...builder,
      token: null,
      subject: 'ü'.repeat(2000),
      outcome: 'ok',
    };
    const logs = [new AuditLog(data), new AuditLog(data)];
    const times = [new Date('2026-01-31T23:59:59Z'), new Date('2026-02-01T00:00:00Z')];
    const many = logs.flatMap((log) =>
      times.flatMap((at) => Array.from({ length: 50 }, () => log.append(entry, at))),
    );
    await Promise.all(many);
    const read = await readAudit(data);
    assert.equal(read.length, 200);
    for (const { at, ...line } of read) assert.ok(at.startsWith('2026-0') && line.subject === entry.subject);
    assert.deepEqual((await readdir(join(data, 'audit'))).toSorted(), ['2026-01.jsonl', '2026-02.jsonl']);
    assert.equal((await stat(join(data, 'audit'))).mode & 0o777, 0o700);
    assert.equal((await stat(join(data, 'audit/2026-01.jsonl'))).mode & 0o777, 0o600);
  } finally {
    await rm(data, { recursive: true });
  }
});
