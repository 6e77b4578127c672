import assert from 'node:assert/strict';
import { test } from 'node:test';
import { refuseWith } from './staging.ts';
import { file, pax, raw, tar } from './tar.ts';

/** What is wrong stands before the header that has the entry's name. */
const cases: Record<string, [archive: Buffer, message: string]> = {
  'a global record': [
    tar(Buffer.concat([pax({ path: 'x' }, 'g'), raw(file('a'))])),
    "An entry of the archive comes after a global PAX record 'path', which archive readers take differently.",
  ],
  'a record that comes twice': [
    tar(
      Buffer.concat([
        pax([
          ['uid', '1'],
          ['uid', '2'],
        ]),
        raw(file('a')),
      ]),
    ),
    "An entry of the archive has two PAX records 'uid', which archive readers take differently.",
  ],
  'a sparse file of star': [
    tar(Buffer.concat([pax({ 'SCHILY.realsize': '1' }), raw(file('a'))])),
    'An entry of the archive is a sparse file in a form of star or Solaris; make the archive with GNU tar or bsdtar.',
  ],
};
for (const [what, [archive, message]] of Object.entries(cases)) {
  test(`an entry whose name is not known yet is not given another: ${what}`, async () => {
    const error = await refuseWith(['ARCHIVE_AMBIGUOUS', 'ENTRY_SPARSE'], archive);
    assert.equal(error.message, message);
    assert.equal(error.details.entry, undefined);
  });
}
