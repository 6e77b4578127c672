import assert from 'node:assert/strict';
import { test } from 'node:test';
import { shareContext } from '../../src/context/share-context.ts';

test('a shared context goes with the last build that has it, whoever disposes his own twice', async () => {
  let removed = 0;
  const context = {
    ...{ path: '/context.erofs', directory: '', named: [], frontend: null },
    summary: { digest: `sha256:${'a'.repeat(64)}` as const, size: 1024, entries: 1, warnings: [] },
    [Symbol.asyncDispose]: async () => {
      removed += 1;
    },
  };
  const [first, second, ...more] = shareContext(context, 2);
  assert.ok(first && second && more.length === 0);
  assert.equal(second.path, context.path);
  await first[Symbol.asyncDispose]();
  await first[Symbol.asyncDispose]();
  assert.equal(removed, 0);
  await second[Symbol.asyncDispose]();
  await second[Symbol.asyncDispose]();
  assert.equal(removed, 1);
});
