import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { removeOldTemplates } from '../../src/vm/ensure-template.ts';

test('templates that nothing starts from go; where they cannot be looked for, that is a warning and no failure', async () => {
  const templatesDirectory = await mkdtemp(join(tmpdir(), 'kiln-templates-'));
  await using undo = new AsyncDisposableStack();
  undo.defer(() => rm(templatesDirectory, { recursive: true }));
  for (const key of ['old', 'before', 'serves'])
    await mkdir(join(templatesDirectory, 'entry', key), { recursive: true });
  await removeOldTemplates({ templatesDirectory }, 'entry', ['before', 'serves']);
  assert.deepEqual((await readdir(join(templatesDirectory, 'entry'))).toSorted(), ['before', 'serves']);

  await writeFile(join(templatesDirectory, 'no-folder'), '');
  const warned = once(process, 'warning');
  await removeOldTemplates({ templatesDirectory }, 'no-folder', []);
  const [warning] = await warned;
  assert.match(warning.message, /^Old templates in .*no-folder could not be removed\.$/);
});
