import { KilnError } from '../../model/error.ts';
import type { ErofsImage } from '../erofs/erofs-image.ts';
import type { MemberRules } from '../member-rules.ts';
import type { UnpackedSize } from '../unpacked-size.ts';
import { SparseContent } from './sparse-content.ts';
import { OldSparseMapReader, SparseMapReader } from './sparse-forms.ts';
import { checkExtension, type Extensions, isExtension, readExtension } from './tar-extensions.ts';
import { blockBytes, corrupt, isZero, parseTarHeader, type TarHeader } from './tar-header.ts';
import { readTarMember, type Stored } from './tar-member.ts';

type State =
  /** Collecting one header block. */
  | { readonly at: 'header' }
  /** Collecting the content of an extension header. */
  | { readonly at: 'extension'; readonly type: string; readonly size: number; readonly paddedSize: number }
  /** Collecting one block of a sparse map, behind a header of GNU's oldest form. */
  | { readonly at: 'sparse-block'; readonly reader: OldSparseMapReader; readonly bytes: number }
  /** Collecting one block of a sparse map before the data; `bytes` are the map's and the data's that are still to come. */
  | {
      readonly at: 'sparse-map';
      readonly reader: SparseMapReader;
      readonly realSize: number;
      readonly bytes: number;
    }
  /** Passing over content and its padding. */
  | { readonly at: 'content' }
  /** One zero block seen; a second must follow. */
  | { readonly at: 'first-zero' }
  /** The archive has ended; only zero padding may follow. */
  | { readonly at: 'end' };

/**
 * Reads a tar as its bytes go by and refuses it at the first thing that two readers could take differently. What passes goes
 * into the image: names, modes, owners, times, xattrs and contents as they were.
 * Written by hand because the tar readers there are give members, not headers: they hide what must be seen here.
 */
export class TarWalker {
  readonly #rules: MemberRules;
  readonly #image: ErofsImage;
  readonly #unpacked: UnpackedSize;
  #state: State = { at: 'header' };
  #extensions: Extensions = {};
  /** Bytes of what is being collected. */
  #partial: Buffer[] = [];
  #partialBytes = 0;
  /** Bytes of content and padding still to pass, and of them those of content. */
  #toSkip = 0;
  #contentLeft = 0;
  /** Where the content goes: into the image as it is, unless the file is sparse. */
  #sparse: SparseContent | null = null;
  #offset = 0;

  /** @param unpacked counts the holes of sparse files; what is pushed is counted by whoever pushes it */
  constructor(rules: MemberRules, image: ErofsImage, unpacked: UnpackedSize) {
    this.#rules = rules;
    this.#image = image;
    this.#unpacked = unpacked;
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
    if (content > 0 && this.#sparse) this.#sparse.push(bytes.subarray(0, content));
    else if (content > 0) this.#image.content(bytes.subarray(0, content));
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
    const state = this.#state;
    if (state.at === 'extension') {
      this.#state = { at: 'header' };
      this.#extensions = readExtension(state.type, bytes.subarray(0, state.size), this.#extensions);
    } else if (state.at === 'sparse-block') {
      const sparse = state.reader.push(bytes);
      if (sparse) this.#beginContent({ bytes: state.bytes, sparse });
    } else if (state.at === 'sparse-map') {
      this.#readSparseMap(state, bytes);
    } else {
      this.#readBlock(bytes);
    }
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
    if (isExtension(header)) {
      const { type, size } = header;
      checkExtension(header, this.#extensions);
      this.#state = { at: 'extension', type, size, paddedSize: padded(size) };
      return;
    }
    const { member, stored } = readTarMember(header, this.#extensions);
    this.#extensions = {};
    // Before the image is told of the size: no limit is known to it.
    this.#unpacked.add(Math.max(0, member.size - stored.bytes));
    const placement = this.#rules.add(member, this.#image.nextContentAt);
    if (placement) this.#image.add(placement, member);
    this.#beginContent(stored);
  }

  #beginContent({ bytes, sparse }: Stored): void {
    if (sparse?.rest === 'blocks') {
      this.#state = { at: 'sparse-block', reader: new OldSparseMapReader(sparse), bytes };
    } else if (sparse?.rest === 'data') {
      this.#state = { at: 'sparse-map', reader: new SparseMapReader(), realSize: sparse.realSize, bytes };
    } else {
      this.#sparse = sparse && new SparseContent(this.#image, sparse, bytes);
      this.#contentLeft = bytes;
      this.#toSkip = padded(bytes);
      this.#state = this.#toSkip > 0 ? { at: 'content' } : { at: 'header' };
    }
  }

  #readSparseMap(state: Extract<State, { at: 'sparse-map' }>, block: Buffer): void {
    const bytes = state.bytes - blockBytes;
    if (bytes < 0) throw corrupt('has a sparse file whose map is longer than what is stored of it');
    const extents = state.reader.push(block);
    if (extents) this.#beginContent({ bytes, sparse: { ...state, extents, rest: 'none' } });
    else this.#state = { ...state, bytes };
  }
}

function padded(size: number): number {
  return Math.ceil(size / blockBytes) * blockBytes;
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
