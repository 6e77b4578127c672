import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Silence } from '../../src/http/answer/silence.ts';

test('the line of a silence grows while nothing else is said, and only then', async () => {
  let said = '';
  const nudge = (text: () => string): void => {
    said += text();
  };
  using silence = new Silence({ nudge }, 400);
  for (let round = 0; round < 40; round += 1) {
    await sleep(20);
    assert.equal(silence.end(), '');
  }
  assert.equal(said, '');
  await sleep(1000);
  assert.match(said, /^kiln: still waiting \.+$/);
  assert.equal(silence.end(), '\n');
  assert.equal(silence.end(), '');
});
