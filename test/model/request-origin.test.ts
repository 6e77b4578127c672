import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseTraceparent, readOrigin } from '../../src/model/request-origin.ts';

const traceId = '0af7651916cd43dd8448eb211c80319c';
const spanId = 'b7ad6b7169203331';

for (const [text, expected] of [
  [`00-${traceId}-${spanId}-01`, { traceId, spanId, traceFlags: 1 }],
  [`00-${traceId}-${spanId}-00`, { traceId, spanId, traceFlags: 0 }],
  // Bits that a later version may define say nothing to us.
  [`01-${traceId}-${spanId}-ff-more`, { traceId, spanId, traceFlags: 1 }],
  [`00-${traceId}-${spanId}-01-more`, null],
  [`ff-${traceId}-${spanId}-01`, null],
  [`00-${'0'.repeat(32)}-${spanId}-01`, null],
  [`00-${traceId}-${'0'.repeat(16)}-01`, null],
  [`00-${traceId.toUpperCase()}-${spanId}-01`, null],
  [`00-${traceId}-${spanId}`, null],
  [`01-${traceId}-${spanId}-01-${'x'.repeat(1000)}`, null],
  ['', null],
] as const)
  test(`traceparent ${text.slice(0, 80)}`, () => assert.deepEqual(parseTraceparent(text), expected));

test('a request has the id that it says, if that is one, else one of its own', () => {
  assert.equal(readOrigin('ci-4711.a_b', undefined).requestId, 'ci-4711.a_b');
  for (const odd of [undefined, '', 'a b', 'x'.repeat(129), 'a\n', ['a'], 7]) {
    const { requestId } = readOrigin(odd, undefined);
    assert.match(requestId, /^[0-9a-f-]{36}$/);
    assert.notEqual(readOrigin(odd, undefined).requestId, requestId);
  }
  const traceparent = `00-${traceId}-${spanId}-01`;
  assert.equal(readOrigin('a', traceparent).traceparent, traceparent);
  for (const odd of [undefined, 'x', [traceparent]]) assert.equal(readOrigin('a', odd).traceparent, null);
});
