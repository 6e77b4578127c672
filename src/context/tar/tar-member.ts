import { type Member, type Metadata, refuse, refuseType, type Xattr } from '../member.ts';
import type { PaxHeader } from './pax.ts';
import { readOldSparseHeader } from './sparse-forms.ts';
import type { SparseHeader } from './sparse-map.ts';
import type { Extensions } from './tar-extensions.ts';
import { ambiguous, type TarHeader } from './tar-header.ts';

const slash = 0x2f;
/** Linux's ids are of 32 bits; the last means "none". */
const maxId = 0xfffffffe;
const none: readonly Xattr[] = [];

/** What follows a member's header: its bytes in the archive, and what they are where the file is sparse. */
export type Stored = { readonly bytes: number; readonly sparse: SparseHeader | null };

const memberTypes: Readonly<Record<string, Member['type']>> = {
  '\0': 'file',
  '0': 'file',
  '1': 'hardlink',
  '2': 'symlink',
  '3': 'special',
  '4': 'special',
  '5': 'directory',
  '6': 'special',
  S: 'file',
};

/**
 * A header and the extensions before it as one member.
 * @throws ARCHIVE_AMBIGUOUS, ARCHIVE_CORRUPT, ENTRY_TYPE
 */
export function readTarMember(
  header: TarHeader,
  { pax, longName, longLink }: Extensions,
): { member: Member; stored: Stored } {
  const name = pax?.path ?? longName ?? header.name;
  const target = pax?.linkPath ?? longLink ?? header.linkName;
  if (pax?.size !== undefined && pax.size !== header.size) throw ambiguous(name, 'has two different sizes');
  const type = memberType(header.type, name);
  if (type !== 'file' && header.size > 0) throw ambiguous(name, `is a ${type} with content`);
  const sparse = readSparse(header, pax, name);
  if (sparse && type !== 'file') throw ambiguous(name, `is a ${type} with a sparse map`);
  return {
    member: {
      name,
      type,
      target,
      size: sparse?.realSize ?? header.size,
      metadata: metadataOf(name, header, pax),
    },
    stored: { bytes: header.size, sparse },
  };
}

function readSparse(
  { type, block }: TarHeader,
  pax: PaxHeader | undefined,
  name: Buffer,
): SparseHeader | null {
  if (type !== 'S') return pax?.sparse ?? null;
  if (pax?.sparse) throw ambiguous(name, 'has two sparse maps');
  return readOldSparseHeader(block);
}

function memberType(flag: string, name: Buffer): Member['type'] {
  const type = memberTypes[flag];
  if (!type) throw refuseType(name);
  if (name.at(-1) !== slash || type === 'directory') return type;
  // v7 had no type for folders: a name that ends in a slash was one. Of other types only some readers think so.
  if (flag !== '\0') throw ambiguous(name, `is a ${type} with the name of a folder`);
  return 'directory';
}

/** Where a PAX header and the header's own fields say the same thing, PAX says it more exactly. */
function metadataOf(name: Buffer, header: TarHeader, pax: PaxHeader | undefined): Metadata {
  const [uid, gid] = [pax?.uid ?? header.uid, pax?.gid ?? header.gid];
  if (uid < 0 || gid < 0 || uid > maxId || gid > maxId)
    throw refuse('ARCHIVE_CORRUPT', name, 'belongs to a user or group that cannot be');
  const mtime = pax?.mtime ?? { seconds: header.mtime, nanoseconds: 0 };
  return { mode: header.mode, uid, gid, mtime, xattrs: pax?.xattrs ?? none };
}
