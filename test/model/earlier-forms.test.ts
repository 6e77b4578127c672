import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EgressDestination } from '../../src/model/build.ts';
import { readEvent } from '../../src/model/earlier-forms.ts';

const at = '2026-01-02T03:04:05.678Z';

test('an event of the first release names its destination as today', () => {
  const destination = {
    host: 'pkg.example.org',
    port: 443,
    address: '151.101.0.223',
    allowed: true,
    connections: 1,
  };
  const expected: EgressDestination = {
    ...{ name: 'pkg.example.org', address: '151.101.0.223', port: 443, announced: null },
    ...{ allowed: true, reason: null, connections: 1, bytesIn: 0, bytesOut: 0 },
  };
  const read = readEvent(JSON.stringify({ at, type: 'egress', destination }));
  assert.deepEqual(read, { at, type: 'egress', destination: expected });
  assert.deepEqual(readEvent(JSON.stringify(read)), read, 'one of today stays as it is');
});
