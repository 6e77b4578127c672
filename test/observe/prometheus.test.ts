import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { freePort } from '../docker-registry.ts';
import { waitFor } from '../http/harness.ts';
import { installTools } from '../install-tools.ts';
import { createFolder } from '../store/harness.ts';
import { tied } from '../tied.ts';
import { startMetered } from './metered-service.ts';

const run = promisify(execFile);
const observe = join(import.meta.dirname, '../../deploy/observe');
const configFile = join(observe, 'prometheus.yml');

type Panel = { title: string; datasource: { uid: string }; targets: { expr: string }[] };

async function readDashboard(): Promise<{ panels: Panel[] }> {
  return JSON.parse(await readFile(join(observe, 'grafana/dashboards/kiln.json'), 'utf8'));
}

test('a real Prometheus takes the config of the profile observe, and every graph of the dashboard has a series (simulated VMs)', async () => {
  await installTools([
    { find: 'prometheus', package: 'prometheus' },
    { find: 'promtool', package: 'prometheus' },
  ]);
  await run('promtool', ['check', 'config', configFile]);

  let runs = 0;
  await using service = await startMetered((guest) => {
    runs += 1;
    guest.log('#1 done\n');
    guest.end({ exitCode: runs % 2 });
  });
  await using folder = await createFolder();
  // The very file but for the port of this service, and so that the test takes seconds.
  const text = (await readFile(configFile, 'utf8'))
    .replace('127.0.0.1:8080', new URL(service.url).host)
    .replace('scrape_interval: 15s', 'scrape_interval: 1s');
  await writeFile(join(folder.path, 'prometheus.yml'), text);
  const url = `http://127.0.0.1:${await freePort()}`;
  const words = [
    `--config.file=${folder.path}/prometheus.yml`,
    `--storage.tsdb.path=${folder.path}/data`,
    `--web.listen-address=${new URL(url).host}`,
  ];
  await using _prometheus = startProgram('prometheus', words);

  const hasSeries = async (query: string): Promise<boolean> => {
    const asked = `${url}/api/v1/query?query=${encodeURIComponent(query.replaceAll('$__rate_interval', '1m'))}`;
    const answer = await fetch(asked).catch(() => null);
    if (!answer || answer.status === 503) return false;
    const { status, data, error } = (await answer.json()) as {
      status: string;
      data?: { result: unknown[] };
      error?: string;
    };
    assert.equal(status, 'success', `${query}: ${error}`);
    return (data?.result.length ?? 0) > 0;
  };
  await waitFor(() => hasSeries('up{job="kiln"} == 1'), 'Prometheus has read kiln');
  await service.build();
  await service.build();
  const { panels } = await readDashboard();
  assert.ok(panels.length > 10);
  for (const { title, targets } of panels)
    for (const { expr } of targets) await waitFor(() => hasSeries(expr), `${title}: ${expr}`);
  assert.equal(await hasSeries('kiln_no_such_metric'), false);
});

test('the dashboard asks the data source that Grafana is given', async () => {
  const source = await readFile(join(observe, 'grafana/datasources/prometheus.yml'), 'utf8');
  const [, uid] = /^ {4}uid: (\S+)$/m.exec(source) ?? [];
  const { panels } = await readDashboard();
  assert.deepEqual([...new Set(panels.map(({ datasource }) => datasource.uid))], [uid]);
  assert.equal(new Set(panels.map(({ title }) => title)).size, panels.length);
});

function startProgram(name: string, args: readonly string[]): AsyncDisposable {
  const child = spawn(...tied(name, args), { stdio: 'ignore' });
  const exited = once(child, 'exit');
  return {
    async [Symbol.asyncDispose]() {
      child.kill('SIGTERM');
      await exited;
    },
  };
}
