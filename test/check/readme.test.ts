import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { listSettings } from '../../src/config/config.ts';
import { renderUsage } from '../../src/config/usage.ts';

const readme = await readFile(join(import.meta.dirname, '../../README.md'), 'utf8');

test("the README's table of settings is the schema's", () => {
  const rows = listSettings().map(({ name, fallback, description }) => {
    return `| \`${name}\` | ${fallback === '' ? '' : `\`${fallback}\``} | ${description} |`;
  });
  const [, table = ''] =
    /\n\| variable \| default \| meaning \|\n\|---\|---\|---\|\n((?:\|.*\n)+)/.exec(readme) ?? [];
  assert.deepEqual(table.trim().split('\n'), rows);
});

test('--help names every setting with its default', () => {
  const usage = renderUsage();
  for (const { name, fallback } of listSettings())
    assert.ok(usage.includes(`\n  ${name}${fallback === '' ? '' : `=${fallback}`}\n`), name);
});
