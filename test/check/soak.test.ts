import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { subjects } from '../soak/subjects.ts';

const soak = join(import.meta.dirname, '../soak');

test('each file of npm run soak is one of its subjects, and each subject has its file', async () => {
  const files = (await readdir(soak)).filter((name) => name.endsWith('.soak.ts'));
  assert.deepEqual(
    files.sort(),
    Object.keys(subjects)
      .map((name) => `${name}.soak.ts`)
      .sort(),
  );
});

test('a subject that there is not is refused, and those that there are are named', () => {
  const { status, stderr } = spawnSync(process.execPath, [join(soak, 'main.ts'), '--only', 'nothing']);
  assert.equal(status, 1);
  assert.equal(
    stderr.toString(),
    `There is no subject 'nothing'; there are ${Object.keys(subjects).join(', ')}.\n`,
  );
});
