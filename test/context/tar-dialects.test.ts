import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ErrorCode } from '../../src/model/error.ts';
import { extractImage, listTree } from './image.ts';
import { refuseWith, Staging } from './staging.ts';
import { file, pax, type RawMember, tar } from './tar.ts';

/** Times of access and change where star has them; what else there is behind the prefix and at the end. */
function starLike(member: RawMember, { behindPrefix = '', atEnd = '' } = {}): RawMember {
  return {
    ...member,
    patch(block) {
      block.write(behindPrefix, 400);
      block.write('15302253526\x0015302253525 ', 476);
      block.write(atEnd, 508);
    },
  };
}

const accepted: readonly (readonly [what: string, archive: Buffer, names: readonly string[]])[] = [
  ['a header of node-tar', tar(starLike({ name: 'a' })), ['a']],
  [
    'one with a prefix',
    tar(starLike({ name: 'b', prefix: 'p'.repeat(130) })),
    ['p'.repeat(130), `${'p'.repeat(130)}/b`],
  ],
  ['one with the mark of star', tar(starLike({ name: 'c', prefix: 'p' }, { atEnd: 'tar\0' })), ['p', 'p/c']],
  ['the mark alone', tar({ name: 'd', patch: (block) => block.write('tar\0', 508) }), ['d']],
  [
    'times, comments and what a vendor notes for all members',
    tar(pax({ comment: 'c', mtime: '1', uname: 'me', 'KILN.note': 'n' }, 'g'), file('e'), file('f')),
    ['e', 'f'],
  ],
];
for (const [what, archive, names] of accepted) {
  test(`row 22: ${what} is accepted`, async () => {
    await using staging = await Staging.create();
    await using staged = await staging.stageSealed(archive);
    await using image = await extractImage(staged.path);
    assert.deepEqual(await listTree(image.directory, '%P'), names);
  });
}

const refused: readonly (readonly [
  what: string,
  codes: ErrorCode | readonly ErrorCode[],
  archive: Buffer,
])[] = [
  [
    'a prefix that is longer than those of star, with its mark',
    'ARCHIVE_AMBIGUOUS',
    tar({ name: 'x', prefix: 'p'.repeat(131), patch: (block) => block.write('tar\0', 508) }),
  ],
  [
    'a prefix with something behind it',
    'ENTRY_NAME',
    tar(starLike({ name: 'x', prefix: 'p' }, { behindPrefix: 'more' })),
  ],
  ['something in place of the mark', 'ARCHIVE_AMBIGUOUS', tar(starLike({ name: 'x' }, { atEnd: 'more' }))],
  [
    'a sparse file in the form of star',
    ['ENTRY_NAME', 'ARCHIVE_AMBIGUOUS'],
    tar(starLike({ name: 'x', type: 'S' })),
  ],
  ['owners for all members', 'ARCHIVE_AMBIGUOUS', tar(pax({ uid: '1' }, 'g'), file('x'))],
  ['sizes for all members', 'ARCHIVE_AMBIGUOUS', tar(pax({ comment: 'c', size: '1' }, 'g'), file('x'))],
  ['xattrs for all members', 'ARCHIVE_AMBIGUOUS', tar(pax({ 'SCHILY.xattr.user.a': 'b' }, 'g'), file('x'))],
  ['holes for all members', 'ARCHIVE_AMBIGUOUS', tar(pax({ 'GNU.sparse.major': '1' }, 'g'), file('x'))],
];
for (const [what, codes, archive] of refused) {
  test(`row 22: ${what} is refused`, async () => {
    await refuseWith(codes, archive);
  });
}

test('a part of several, as GNU tar makes them, is told of by that name', async () => {
  const { message } = await refuseWith('ARCHIVE_CORRUPT', tar({ name: 'x', type: 'M' }));
  assert.equal(message, 'The tar is one part of several; send one whole file.');
});
