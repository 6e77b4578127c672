import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createPinoLogger } from '../../src/lib/pino-logger.ts';
import { KilnError } from '../../src/model/error.ts';

function createLog(): { lines: Record<string, unknown>[]; logger: ReturnType<typeof createPinoLogger> } {
  const lines: Record<string, unknown>[] = [];
  const write = (line: string): void => void lines.push(JSON.parse(line));
  return { lines, logger: createPinoLogger('info', { write }) };
}

test('no secret of a token is written, wherever it was quoted', () => {
  const { lines, logger } = createLog();
  const token = `kiln_0123456789ab_${'s-_3'.repeat(10)}xyz`;
  const error = new Error(`${token} is odd`, { cause: new Error(`"${token}"`) });
  logger.error({ path: `/v1/builds/${token}/log`, error, [token]: [token] }, `sent ${token}.`);
  const text = JSON.stringify(lines);
  assert.ok(!text.includes('s-_3') && !text.includes('xyz'), text);
  assert.match(text, /"path":"\/v1\/builds\/kiln_0123456789ab_…\/log"/);
  assert.match(text, /"msg":"sent kiln_0123456789ab_…\."/);
});

test('an error is written with the whole chain of its causes, in message and stack', () => {
  const { lines, logger } = createLog();
  const disk = Object.assign(new Error('EIO: i/o error, read'), { code: 'EIO' });
  const error = KilnError.from(new Error('the artifact cannot be read', { cause: disk }));
  logger.error({ build: 'b1', error }, 'a build failed by our fault');
  const [line = assert.fail('nothing was written')] = lines;
  assert.deepEqual([line['build'], line['msg']], ['b1', 'a build failed by our fault']);
  const { message, stack, code } = line['error'] as Record<string, string>;
  assert.equal(code, 'INTERNAL');
  assert.equal(message, 'internal error: the artifact cannot be read: EIO: i/o error, read');
  assert.match(stack ?? '', /internal error.*caused by: Error: the artifact.*caused by: Error: EIO/s);
});
