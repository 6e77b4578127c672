import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { type BuildRecord, terminalStates } from '../../src/model/build.ts';
import { stretchNames } from '../../src/model/stretches.ts';
import { createMetrics, type Metrics } from '../../src/observe/metrics.ts';
import { at, failed, record } from '../simulated-builds.ts';
import { showService } from './show-service.ts';

const ended: BuildRecord = {
  ...record,
  state: 'failed',
  verdict: { ...failed, code: 'TIMEOUT', failureClass: 'TIMEOUT' },
  times: { ...record.times, leased: at, finished: '2026-11-23T10:00:09.600Z' },
};

async function samples({ read }: Metrics): Promise<Map<string, number>> {
  const { text } = await read();
  const lines = text.split('\n').filter((line) => line.startsWith('kiln_'));
  return new Map(lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.split(' ').at(-1))]));
}

/** Name → kind and meaning of each metric of kiln's own. */
async function described(): Promise<Map<string, { kind: string; help: string }>> {
  const metrics = createMetrics();
  showService(metrics);
  const { text } = await metrics.read();
  const kinds = new Map(
    Array.from(text.matchAll(/^# TYPE (kiln_\S+) (\S+)$/gm), ([, name, kind]) => [name, kind]),
  );
  return new Map(
    Array.from(text.matchAll(/^# HELP (kiln_\S+) (.+)$/gm), ([, name = '', help = '']) => [
      name,
      { kind: kinds.get(name) ?? '', help },
    ]),
  );
}

test('names are as Prometheus wants them, and each has a sentence', async () => {
  const all = await described();
  assert.ok(all.size > 15);
  for (const [name, { kind, help }] of all) {
    assert.match(name, /^kiln_[a-z]+(_[a-z]+)*$/);
    assert.equal(name.endsWith('_total'), kind === 'counter', name);
    assert.equal(kind === 'histogram', name.endsWith('_seconds') && !name.includes('oldest'), name);
    assert.match(help, /^[A-Z].{10,}[.)]$/, name);
  }
});

test("the README's table of metrics is the code's", async () => {
  const readme = await readFile(join(import.meta.dirname, '../../README.md'), 'utf8');
  const rows = Array.from(
    await described(),
    ([name, { kind, help }]) => `| \`${name}\` | ${kind} | ${help} |`,
  );
  const [, table = ''] =
    /\n\| metric \| kind \| meaning \|\n\|---\|---\|---\|\n((?:\|.*\n)+)/.exec(readme) ?? [];
  assert.deepEqual(table.trim().split('\n'), rows);
});

test('what a build came to is counted at its end, from its record', async () => {
  const metrics = createMetrics();
  metrics.observer.buildEnded(ended);
  metrics.observer.buildEnded({ ...ended, artifact: null, egress: [], context: null, namedContexts: [] });
  metrics.observer.logged(7);
  metrics.observer.logged(5);
  const seen = await samples(metrics);
  const entry = 'entry="buildkit-v0.20.2"';
  const { attempts } = ended;
  const retries = attempts.filter(({ error }) => error).length;
  assert.ok(retries > 0);
  assert.deepEqual(
    Object.fromEntries([...seen].filter(([name]) => name.includes('_total') || name.includes('_count'))),
    {
      [`kiln_builds_total{${entry},state="failed",failure_class="TIMEOUT",code="TIMEOUT"}`]: 2,
      [`kiln_build_attempts_total{${entry}}`]: 2 * attempts.length,
      'kiln_build_retries_total{code="INFRA"}': 2 * retries,
      kiln_context_bytes_total: 1024 + 512,
      'kiln_artifact_bytes_total{format="docker"}': 0,
      'kiln_artifact_bytes_total{format="oci"}': 11,
      'kiln_artifact_bytes_total{format="local"}': 0,
      ...Object.fromEntries(terminalStates.map((state) => [`kiln_operations_total{state="${state}"}`, 0])),
      kiln_log_bytes_total: 12,
      'kiln_egress_connections_total{outcome="reached"}': 0,
      'kiln_egress_connections_total{outcome="failed"}': 0,
      'kiln_egress_connections_total{outcome="refused"}': 2,
      'kiln_egress_bytes_total{direction="in"}': 0,
      'kiln_egress_bytes_total{direction="out"}': 0,
      ...Object.fromEntries(
        ['queue', 'lost', 'lease'].map((phase) => {
          const labels = `${entry},phase="${phase}"`;
          return [`kiln_build_phase_seconds_count{${labels}}`, phase === 'queue' ? 4 : 2];
        }),
      ),
    },
  );
});

test('no label is what a caller says', async () => {
  const metrics = createMetrics();
  const names = { name: 'secret.example', address: '192.0.2.7', announced: 'other.example' };
  const egress = record.egress.map((one) => ({ ...one, ...names }));
  const spec = { ...record.spec, tags: ['secret:1'], target: 'secret' };
  metrics.observer.buildEnded({ ...ended, spec, egress, tenant: 'secret', id: 'secret' });
  showService(metrics);
  const { text } = await metrics.read();
  assert.doesNotMatch(text, /secret|other\.example|192\.0\.2|vm-/);
  for (const name of stretchNames) assert.match(text, new RegExp(`\\b${name}\\b`));
});

test('the service is looked at whenever the metrics are read', async () => {
  const metrics = createMetrics();
  const state = showService(metrics);
  const name = 'kiln_pool_vms{entry="buildkit-v0.20.2",state="warm"}';
  assert.equal((await samples(metrics)).get(name), 2);
  state.warm = 1;
  const seen = await samples(metrics);
  assert.equal(seen.get(name), 1);
  assert.equal(seen.get('kiln_queue_builds{entry="buildkit-v0.20.2"}'), 3);
  assert.equal(seen.get('kiln_queue_oldest_seconds{entry="buildkit-v0.20.2"}'), 4.5);
  assert.equal(seen.get('kiln_ready'), 1);
  assert.equal(seen.get('kiln_info{version="1.2.3",accelerator="tcg"}'), 1);
  assert.match((await metrics.read()).text, /^process_cpu_seconds_total \d/m);
});
