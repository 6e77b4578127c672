import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startMetered } from './metered-service.ts';

test('what a service does is in its metrics: leases, phases, ends, log, VMs, the line (simulated VMs)', async () => {
  let runs = 0;
  await using service = await startMetered((guest) => {
    runs += 1;
    if (runs === 1) {
      guest.lose();
      return;
    }
    guest.log('#1 done\n');
    guest.end({ exitCode: runs === 2 ? 0 : 1 });
  });
  await service.build();
  await service.build();
  const answer = await fetch(`${service.url}/metrics`);
  assert.equal(answer.status, 200);
  assert.equal(answer.headers.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8');
  const text = await answer.text();
  const entry = 'entry="buildkit-v0.20.2"';
  for (const line of [
    `kiln_builds_total{${entry},state="succeeded",failure_class="",code=""} 1`,
    `kiln_builds_total{${entry},state="failed",failure_class="USER_ERROR",code=""} 1`,
    `kiln_lease_wait_seconds_count{${entry}} 3`,
    `kiln_build_attempts_total{${entry}} 3`,
    'kiln_build_retries_total{code="INFRA"} 1',
    `kiln_build_phase_seconds_count{${entry},phase="run"} 2`,
    `kiln_build_phase_seconds_count{${entry},phase="lost"} 1`,
    `kiln_log_bytes_total ${2 * '#1 done\n'.length}`,
    `kiln_pool_vms{${entry},state="leased"} 0`,
    `kiln_queue_builds{${entry}} 0`,
  ])
    assert.ok(text.includes(`\n${line}\n`), `${line}\n${text}`);
});
