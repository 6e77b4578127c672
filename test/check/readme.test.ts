import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { catalogTable } from '../../scripts/entry/catalog-table.ts';
import { listArchive } from '../../src/catalog/catalog.ts';
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

test("the README's table of archive entries is the catalog's, as npm run entry -- table prints it", async () => {
  const entries = await listArchive(join(import.meta.dirname, '../../images'));
  const table = catalogTable(entries);
  assert.equal(table.split('\n').length, entries.length + 2);
  assert.ok(readme.includes(`\n${table}\n`), 'it is another one');
});

test('--help names every setting with its default', () => {
  const usage = renderUsage();
  for (const { name, fallback } of listSettings())
    assert.ok(usage.includes(`\n  ${name}${fallback === '' ? '' : `=${fallback}`}\n`), name);
});

test('every curl line that sends a build or asks for a file fails where the service refuses it', () => {
  const lines = `${readme}\n${renderUsage()}`
    .split('\n')
    .filter((line) => /\bcurl .*(?:\/build\b|-o )/.test(line));
  assert.ok(lines.length >= 5);
  for (const line of lines) assert.match(line, / --fail-with-body /);
});
