import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describeRefusals } from '../../src/http/answer/refusals.ts';
import type { EgressDestination } from '../../src/model/build.ts';

const nothing = { announced: null, connections: 1, bytesIn: 0, bytesOut: 0, allowed: false } as const;

function linesOf(...seen: readonly Pick<EgressDestination, 'name' | 'address' | 'port' | 'reason'>[]) {
  return describeRefusals(
    seen.map((destination) => ({
      ...{ ...nothing, ...destination },
      allowed: ['unreachable', null].includes(destination.reason),
    })),
  );
}

test('each kind of refusal is one line that says how it can be opened', () => {
  assert.deepEqual(
    linesOf(
      { name: null, address: '10.0.0.5', port: 5432, reason: 'not-public' },
      { name: 'db.lan', address: '10.0.0.6', port: null, reason: 'not-public' },
      { name: null, address: 'fd00::1', port: 80, reason: 'not-public' },
      { name: 'a.example', address: null, port: null, reason: 'denied' },
      { name: 'b.example', address: null, port: 443, reason: 'not-in-only' },
      { name: 'c.example', address: null, port: null, reason: 'network-none' },
    ),
    [
      'refused: 10.0.0.5:5432, db.lan, [fd00::1]:80: not public; whoever runs this service can open it with KILN_EGRESS_ALLOW=10.0.0.5:5432',
      'refused: a.example: closed by KILN_EGRESS_DENY of this service',
      'refused: b.example:443: not named by KILN_EGRESS_ONLY of this service; whoever runs it can add b.example:443',
      'refused: c.example: this build asked for network=none; network=default lets it out',
    ],
  );
});

test('a name that was refused before anything was connected to is opened at a port', () => {
  assert.match(
    linesOf({ name: 'db.lan', address: '10.0.0.6', port: null, reason: 'not-public' }).join('\n'),
    /^refused: db\.lan: not public; .*KILN_EGRESS_ALLOW=db\.lan:PORT$/,
  );
});

test('of many of one kind five are named, and how many more there were', () => {
  const many = Array.from({ length: 1000 }, (_, at) => ({
    ...{ name: null, address: `10.0.${at >> 8}.${at & 255}`, port: 80, reason: 'not-public' as const },
  }));
  const [line = '', ...others] = linesOf(...many, ...many);
  assert.deepEqual(others, []);
  assert.match(line, /10\.0\.0\.4:80 and 995 more: not public/);
});

test('what was reached, what does not exist and what did not answer are no refusals', () => {
  assert.deepEqual(
    linesOf(
      { name: 'a.example', address: '93.184.215.14', port: 443, reason: null },
      { name: 'typo.example', address: null, port: null, reason: 'name-unknown' },
      { name: 'slow.example', address: null, port: 443, reason: 'unreachable' },
    ),
    [],
  );
});
