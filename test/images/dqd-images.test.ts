import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { listArchive } from '../../src/catalog/catalog.ts';
import { parseDqdImages } from '../../src/images/dqd-image.ts';

const catalog = await listArchive(join(import.meta.dirname, '../../images'));

test('dqd images are named by their entry, with or without what all entries begin with', () => {
  const given = parseDqdImages(['v0.20.2=r.example:5000/a:b_v1', 'buildkit-v0.12.5=c@sha256:00'], catalog);
  assert.deepEqual(
    [...given],
    [
      ['buildkit-v0.20.2', 'r.example:5000/a:b_v1'],
      ['buildkit-v0.12.5', 'c@sha256:00'],
    ],
  );
});

test('what names no image, or no entry, is refused', () => {
  for (const word of ['v0.20.2', 'v0.20.2=', '=a', 'v0.20.2=a b']) {
    assert.throws(() => parseDqdImages([word], catalog), { code: 'CONFIG_INVALID' }, word);
  }
  assert.throws(() => parseDqdImages(['v9.9.9=a'], catalog), { code: 'BUILDKIT_UNKNOWN' });
});
