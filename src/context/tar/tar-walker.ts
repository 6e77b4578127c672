import { KilnError } from '../../model/error.ts';
import type { ErofsImage } from '../erofs/erofs-image.ts';
import { type Member, type Metadata, refuse, refuseSparse, refuseType, type Xattr } from '../member.ts';
import type { MemberRules } from '../member-rules.ts';
import { checkGlobalHeader, type PaxHeader, parsePaxHeader } from './pax.ts';
import { ambiguous, blockBytes, corrupt, isZero, parseTarHeader, type TarHeader } from './tar-header.ts';

const slash = 0x2f;

/** Linux's ids are of 32 bits; the last means "none". */
const maxId = 0xfffffffe;

/** Far more than any real path or set of xattrs. */
const maxHeaderBytes = 1024 * 1024;

type State =
  /** Collecting one header block. */
  | { readonly at: 'header' }
  /** Collecting the content of an extension header. */
  | { readonly at: 'extension'; readonly type: string; readonly size: number; readonly paddedSize: number }
  /** Passing over content and its padding. */
  | { readonly at: 'content' }
  /** One zero block seen; a second must follow. */
  | { readonly at: 'first-zero' }
  /** The archive has ended; only zero padding may follow. */
  | { readonly at: 'end' };

/** What the extension headers before a member say of it. */
type Extensions = { pax?: PaxHeader; longName?: Buffer; longLink?: Buffer };

/**
 * Reads a tar as its bytes go by and refuses it at the first thing that two readers could take differently. What passes goes
 * into the image: names, modes, owners, times, xattrs and contents as they were.
 * Written by hand because the tar readers there are give members, not headers: they hide what must be seen here.
 */
export class TarWalker {
  readonly #rules: MemberRules;
  readonly #image: ErofsImage;
  #state: State = { at: 'header' };
  #extensions: Extensions = {};
  /** Bytes of a block or an extension that is not complete yet. */
  #partial: Buffer[] = [];
  #partialBytes = 0;
  /** Bytes of content and padding still to pass, and of them those of content. */
  #toSkip = 0;
  #contentLeft = 0;
  #offset = 0;

  constructor(rules: MemberRules, image: ErofsImage) {
    this.#rules = rules;
    this.#image = image;
  }

  /** Keeps nothing of the chunk, but in the image's contents. @throws KilnError; nothing may be pushed after that. */
  push(chunk: Buffer): void {
    let start = 0;
    while (start < chunk.length) {
      const taken =
        this.#state.at === 'content'
          ? this.#pass(chunk.subarray(start))
          : this.#collect(chunk.subarray(start));
      start += taken;
      this.#offset += taken;
      if (this.#state.at === 'content' && this.#toSkip === 0) this.#state = { at: 'header' };
      else if (this.#state.at !== 'content' && this.#partialBytes === this.#wanted()) this.#complete();
    }
  }

  /** The archive must have ended where the bytes do. */
  end(): void {
    if (this.#offset === 0) throw empty();
    if (this.#state.at === 'end' && !this.#partial.every((part) => isZero(part))) throw trailingData();
    if (this.#state.at !== 'end' || this.#partialBytes > 0) {
      throw new KilnError('ARCHIVE_TRUNCATED', 'The archive ends in the middle; send all of it.');
    }
    if (this.#rules.count === 0) throw empty();
  }

  #wanted(): number {
    return this.#state.at === 'extension' ? this.#state.paddedSize : blockBytes;
  }

  #pass(bytes: Buffer): number {
    const taken = Math.min(bytes.length, this.#toSkip);
    const content = Math.min(taken, this.#contentLeft);
    if (content > 0) this.#image.content(bytes.subarray(0, content));
    this.#contentLeft -= content;
    this.#toSkip -= taken;
    return taken;
  }

  #collect(bytes: Buffer): number {
    const part = bytes.subarray(0, this.#wanted() - this.#partialBytes);
    // Of what is not read at once, a copy: the bytes are lent.
    const isRead = part.length === blockBytes && this.#state.at !== 'extension';
    this.#partial.push(isRead ? part : Buffer.from(part));
    this.#partialBytes += part.length;
    return part.length;
  }

  #complete(): void {
    const [only] = this.#partial;
    const bytes = only && this.#partial.length === 1 ? only : Buffer.concat(this.#partial);
    this.#partial = [];
    this.#partialBytes = 0;
    if (this.#state.at === 'extension')
      this.#readExtension(this.#state.type, bytes.subarray(0, this.#state.size));
    else this.#readBlock(bytes);
  }

  #readBlock(block: Buffer): void {
    const zero = isZero(block);
    if (this.#state.at === 'end') {
      if (zero) return;
      throw trailingData();
    }
    if (this.#state.at === 'first-zero' && !zero) throw corrupt('has a lone block of zeros in its middle');
    if (!zero) {
      this.#readHeader(parseTarHeader(block));
      return;
    }
    if (Object.keys(this.#extensions).length > 0) throw corrupt('ends after an extension header');
    this.#state = this.#state.at === 'first-zero' ? { at: 'end' } : { at: 'first-zero' };
  }

  #readHeader(header: TarHeader): void {
    if ('xgLK'.includes(header.type)) this.#beginExtension(header);
    else this.#readMember(header);
  }

  #beginExtension({ type, size, name }: TarHeader): void {
    if (size > maxHeaderBytes) {
      throw new KilnError(
        'ARCHIVE_HEADER_TOO_LARGE',
        `The archive has an extension header of more than ${maxHeaderBytes} bytes.`,
      );
    }
    const { pax, longName, longLink } = this.#extensions;
    const twice = (type === 'x' && pax) || (type === 'L' && longName) || (type === 'K' && longLink);
    const mixed = type === 'x' ? longName || longLink : pax;
    const between = type === 'g' && Object.keys(this.#extensions).length > 0;
    if (twice || mixed || between) throw ambiguous(name, 'has more than one kind of extension header');
    if (size === 0) throw corrupt('has an empty extension header');
    this.#state = { at: 'extension', type, size, paddedSize: padded(size) };
  }

  #readExtension(type: string, data: Buffer): void {
    this.#state = { at: 'header' };
    if (type === 'g') checkGlobalHeader(data);
    else if (type === 'x') this.#extensions.pax = parsePaxHeader(data);
    else if (type === 'L') this.#extensions.longName = withoutNul(data);
    else this.#extensions.longLink = withoutNul(data);
  }

  #readMember(header: TarHeader): void {
    const { pax, longName, longLink } = this.#extensions;
    this.#extensions = {};
    const name = pax?.path ?? longName ?? header.name;
    const target = pax?.linkPath ?? longLink ?? header.linkName;
    if (pax?.size !== undefined && pax.size !== header.size) throw ambiguous(name, 'has two different sizes');
    const type = memberType(header.type, name);
    if (type !== 'file' && header.size > 0) throw ambiguous(name, `is a ${type} with content`);
    const { size } = header;
    const member: Member = { name, type, target, size, metadata: metadataOf(name, header, pax) };
    const placement = this.#rules.add(member, this.#image.nextContentAt);
    if (placement) this.#image.add(placement, member);
    this.#contentLeft = size;
    this.#toSkip = padded(size);
    this.#state = this.#toSkip > 0 ? { at: 'content' } : { at: 'header' };
  }
}

const none: readonly Xattr[] = [];

/** Where a PAX header and the header's own fields say the same thing, PAX says it more exactly. */
function metadataOf(name: Buffer, header: TarHeader, pax: PaxHeader | undefined): Metadata {
  const [uid, gid] = [pax?.uid ?? header.uid, pax?.gid ?? header.gid];
  if (uid < 0 || gid < 0 || uid > maxId || gid > maxId)
    throw refuse('ARCHIVE_CORRUPT', name, 'belongs to a user or group that cannot be');
  const mtime = pax?.mtime ?? { seconds: header.mtime, nanoseconds: 0 };
  return { mode: header.mode, uid, gid, mtime, xattrs: pax?.xattrs ?? none };
}

const memberTypes: Readonly<Record<string, Member['type']>> = {
  '\0': 'file',
  '0': 'file',
  '1': 'hardlink',
  '2': 'symlink',
  '3': 'special',
  '4': 'special',
  '5': 'directory',
  '6': 'special',
};

function memberType(flag: string, name: Buffer): Member['type'] {
  if (flag === 'S') throw refuseSparse(name);
  const type = memberTypes[flag];
  if (!type) throw refuseType(name);
  if (name.at(-1) !== slash || type === 'directory') return type;
  // v7 had no type for folders: a name that ends in a slash was one. Of other types only some readers think so.
  if (flag !== '\0') throw ambiguous(name, `is a ${type} with the name of a folder`);
  return 'directory';
}

function padded(size: number): number {
  return Math.ceil(size / blockBytes) * blockBytes;
}

/** GNU's long names end in NUL; a name after that NUL would be seen by some readers only. */
function withoutNul(data: Buffer): Buffer {
  const end = data.indexOf(0);
  if (end < 0) return data;
  if (!isZero(data, end)) throw ambiguous(data.subarray(0, end), 'has bytes after the end of its name');
  return data.subarray(0, end);
}

function trailingData(): KilnError {
  return new KilnError(
    'ARCHIVE_TRAILING_DATA',
    'There is more data after the end of the archive; send one archive alone.',
  );
}

function empty(): KilnError {
  return new KilnError('ARCHIVE_EMPTY', 'The archive is empty; send a context with at least one file.');
}
