import assert from 'node:assert/strict';
import { test } from 'node:test';
import { renderReady } from '../../src/config/usage.ts';

const service = { httpUrl: 'http://127.0.0.1:8080', grpcAddress: '127.0.0.1:8081' };

/** The one line that begins as `npm run demo` looks for it. */
function lineToTry(lines: readonly string[]): string {
  const [line, ...more] = lines.filter((line) => line.startsWith('  tar '));
  assert.deepEqual(more, []);
  return line ?? assert.fail();
}

test('the line to try is a whole one, without a token where none is needed', () => {
  const lines = renderReady({ ...service, needsToken: false });
  assert.match(
    lineToTry(lines),
    / \| curl -N --fail-with-body -F context=@- http:\/\/127\.0\.0\.1:8080\/build$/,
  );
  assert.doesNotMatch(lines.join('\n'), /token/i);
});

test('where a token is needed, the line to try has its place, and what makes one is named', () => {
  const lines = renderReady({ ...service, needsToken: true });
  assert.match(lineToTry(lines), / -H "Authorization: Bearer \$KILN_TOKEN" -F context=@- /);
  assert.match(lines.join('\n'), /npm run kiln -- token create --role build/);
});
