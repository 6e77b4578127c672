import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Journal } from '../../src/builds/journal.ts';
import { maskOutput } from '../../src/builds/masked-output.ts';
import { BuildSecrets } from '../../src/model/build-secrets.ts';

const secret = 'correct-horse-battery-staple';

test('the step that a verdict names shows no secret, also not where its name is cut within one', async () => {
  const written: unknown[] = [];
  const journal: Pick<Journal, 'log' | 'status'> = {
    log: async () => undefined,
    status: async (status) => void written.push(status),
  };
  const secrets = BuildSecrets.of({ secrets: [{ id: 'npm', value: Buffer.from(secret) }] });
  const output = maskOutput(journal as Journal, secrets);
  const name = `[2/2] RUN ${'x'.repeat(180)}${secret} ${secret}`;
  await output.status({ vertexes: [{ digest: 'sha256:1', name, error: `${secret}: exit code: 1` }] });
  await output.end();
  assert.match(output.failedStep?.name ?? '', /^\[2\/2\] RUN x{180}/);
  assert.match(output.failedStep?.error ?? '', /exit code: 1$/);
  assert.doesNotMatch(JSON.stringify([output.failedStep, written]), /corre|staple/);
});
