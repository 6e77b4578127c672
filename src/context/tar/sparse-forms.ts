import { type PaxRecords, parseDecimal, parseDecimalText } from './pax-records.ts';
import { checkExtentCount, type Extent, type SparseHeader, toExtents } from './sparse-map.ts';
import { corrupt, isZero, parseOctal } from './tar-header.ts';

/**
 * The forms of sparse files that GNU tar and bsdtar write.
 * https://www.gnu.org/software/tar/manual/html_section/Sparse-Formats.html
 */

/** The oldest, a header of type S (GNU tar, src/tar.h): entries of 24 bytes, then whether a block with more follows. */
const entryBytes = 24;
const inHeader = { entriesAt: 386, entries: 4, moreAt: 482 };
const inBlock = { entriesAt: 0, entries: 21, moreAt: 504 };
const realSizeAt = 483;

/** @throws ARCHIVE_CORRUPT */
export function readOldSparseHeader(block: Buffer): SparseHeader {
  return { realSize: readNumber(block, realSizeAt), ...readOldEntries(block, inHeader) };
}

/** Reads the rest of such a map, block by block behind its header. */
export class OldSparseMapReader {
  readonly #realSize: number;
  readonly #extents: Extent[];

  constructor({ realSize, extents }: SparseHeader) {
    this.#realSize = realSize;
    this.#extents = [...extents];
  }

  /** Takes a block. @returns all that is known when the map is complete, null before. @throws ARCHIVE_CORRUPT */
  push(block: Buffer): SparseHeader | null {
    const { extents, rest } = readOldEntries(block, inBlock);
    this.#extents.push(...extents);
    checkExtentCount(this.#extents.length);
    return rest === 'blocks' ? null : { realSize: this.#realSize, extents: this.#extents, rest };
  }
}

function readOldEntries(
  block: Buffer,
  { entriesAt, entries, moreAt }: typeof inHeader,
): Pick<SparseHeader, 'extents' | 'rest'> {
  const end = entriesAt + entries * entryBytes;
  const extents: Extent[] = [];
  for (let at = entriesAt; at < end; at += entryBytes) {
    // An empty entry ends the list; of what comes behind it readers make different things.
    if (isZero(block, at, end)) break;
    extents.push({ offset: readNumber(block, at), bytes: readNumber(block, at + 12) });
  }
  return { extents, rest: block[moreAt] ? 'blocks' : 'none' };
}

function readNumber(block: Buffer, at: number): number {
  const number = block[at] === 0 ? null : parseOctal(block, [at, at + 12]);
  if (number === null) throw corrupt('has a sparse file with a number that is none');
  return number;
}

const prefix = 'GNU.sparse.';

/**
 * The forms that PAX records tell: 0.0 with a record for each number, 0.1 with all of them in one, 1.0 with the map before the data.
 * @returns null for a file that is not sparse
 * @throws ARCHIVE_CORRUPT
 */
export function readPaxSparse({ values, sparsePairs }: PaxRecords): SparseHeader | null {
  const names = [...values.keys()].filter((key) => key.startsWith(prefix));
  if (names.length === 0 && sparsePairs.length === 0) return null;
  const get = (name: string): Buffer | undefined => values.get(prefix + name);
  const has = (...wanted: readonly string[]): boolean => wanted.every((name) => get(name) !== undefined);
  if (has('realsize', 'major', 'minor') && !has('size') && !has('map') && sparsePairs.length === 0) {
    if (get('major')?.toString() !== '1' || get('minor')?.toString() !== '0') throw unknownForm();
    return { realSize: parseDecimal(get('realsize') ?? Buffer.alloc(0)), extents: [], rest: 'data' };
  }
  const [size, count, map] = ['size', 'numblocks', 'map'].map(get);
  if (!size || !count || has('realsize') || has('major') || (map && sparsePairs.length > 0))
    throw unknownForm();
  checkExtentCount(parseDecimal(count));
  const numbers = map ? parseList(map, parseDecimal(count)) : sparsePairs;
  if (numbers.length !== 2 * parseDecimal(count))
    throw corrupt('has a sparse file with another number of parts than it counts');
  return { realSize: parseDecimal(size), extents: toExtents(numbers), rest: 'none' };
}

/** Numbers between commas, and no more than one too many. */
function parseList(list: Buffer, count: number): number[] {
  if (list.length === 0) return [];
  return list
    .toString('latin1')
    .split(',', 2 * count + 1)
    .map(parseDecimalText);
}

const newline = 0x0a;
const maxLineBytes = 17;

/** The map of form 1.0: how many pairs, then their numbers, each on a line; zeros fill the last block. */
export class SparseMapReader {
  readonly #numbers: number[] = [];
  #wanted = 1;
  #line = '';

  /** Takes a block. @returns the map when it is complete, null before. @throws ARCHIVE_CORRUPT */
  push(block: Buffer): Extent[] | null {
    for (let at = 0; at < block.length && this.#numbers.length < this.#wanted; ) {
      const lineEnd = block.indexOf(newline, at);
      const end = lineEnd < 0 ? block.length : lineEnd;
      this.#line += block.toString('latin1', at, Math.min(end, at + maxLineBytes));
      at = end + 1;
      if (this.#line.length >= maxLineBytes) throw corrupt('has a sparse file with a number that is none');
      if (lineEnd >= 0) this.#endLine();
      if (this.#numbers.length === this.#wanted && !isZero(block, at))
        throw corrupt('has a sparse file with something behind its map');
    }
    return this.#numbers.length === this.#wanted ? toExtents(this.#numbers.slice(1)) : null;
  }

  #endLine(): void {
    const number = parseDecimalText(this.#line);
    this.#line = '';
    this.#numbers.push(number);
    if (this.#numbers.length > 1) return;
    checkExtentCount(number);
    this.#wanted = 1 + 2 * number;
  }
}

function unknownForm(): Error {
  return corrupt('has a sparse file whose map is of no known form, or of two');
}
