import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describeReadiness } from '../../src/builds/readiness.ts';
import type { PoolStatus } from '../../src/pool/pool.ts';

const none: PoolStatus = {
  warm: 0,
  frozen: 0,
  leased: 0,
  starting: 0,
  ending: 0,
  proven: false,
  problem: null,
};

function ready(status: Partial<PoolStatus>, poolSize = 1, draining = false): string | true {
  const entry = 'buildkit-v0.20.2';
  const scheduler = { status: new Map([[entry, { ...none, ...status }]]), waiting: 0 };
  const kept = new Map([[entry, { warm: poolSize }]]);
  const rest = { kept, maxVms: 1, queueLimit: 10, entry };
  const { reason } = describeReadiness(
    { ...rest, scheduler, accelerator: { name: 'kvm', note: null } },
    draining,
  );
  return reason ?? true;
}

test('the service is ready while VMs can be made, also in the moment in which there is none', () => {
  assert.equal(ready({ starting: 1 }), 'The first VM is starting.');
  assert.equal(ready({ warm: 1 }), true);
  assert.equal(ready({ starting: 1, proven: true }), true, 'between two builds, with one VM at most');
  assert.equal(ready({ problem: 'no memory' }), 'no memory');
  assert.equal(ready({ leased: 1, problem: 'no memory' }), true);
  assert.equal(ready({}, 0), true, 'VMs are made when they are asked for');
  assert.equal(ready({ warm: 1, proven: true }, 1, true), 'The service is stopping.');
});

test('the VMs of all entries are told one by one and together; what keeps another entry from being made does not count', () => {
  const [entry, other] = ['buildkit-v0.20.2', 'buildkit-v0.12.5'];
  const status = new Map([
    [entry, { ...none, warm: 1, frozen: 2, proven: true }],
    [other, { ...none, leased: 1, starting: 1, problem: 'no memory' }],
  ]);
  const { ready, pool, pools } = describeReadiness(
    {
      ...{ kept: new Map([[entry, { warm: 2 }]]), maxVms: 5, queueLimit: 10, entry },
      ...{ scheduler: { status, waiting: 0 }, accelerator: { name: 'kvm', note: null } },
    },
    false,
  );
  assert.equal(ready, true);
  assert.deepEqual(pool, { warm: 1, frozen: 2, leased: 1, starting: 1, size: 2, max: 5 });
  assert.deepEqual(pools, [
    { entry, warm: 1, frozen: 2, leased: 0, starting: 0, size: 2 },
    { entry: other, warm: 0, frozen: 0, leased: 1, starting: 1, size: 0 },
  ]);
});
