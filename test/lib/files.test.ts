import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { removeQuietly } from '../../src/lib/files.ts';

test('what cannot be removed fails nobody, and is told with its cause', async () => {
  const warned = once(process, 'warning');
  await removeQuietly('/proc/version');
  const [warning] = await warned;
  assert.ok(warning instanceof Error);
  assert.equal(warning.message, '/proc/version could not be removed.');
  assert.ok(warning.cause instanceof Error && 'code' in warning.cause);
});

test('what is not there counts as removed', async () => {
  process.once('warning', assert.fail);
  await removeQuietly('/nowhere/at/all');
  await setImmediate();
  process.off('warning', assert.fail);
});
