import { printable } from '../../lib/text.ts';
import { ambiguous, corrupt } from './tar-header.ts';

/** In the oldest of GNU's forms these two come in turns, once for each part of the file. */
const pairKeys = ['GNU.sparse.offset', 'GNU.sparse.numbytes'];

/** The records of one header, each once, apart from GNU's pairs of numbers. */
export type PaxRecords = {
  readonly values: ReadonlyMap<string, Buffer>;
  /** Offset, bytes, offset, bytes … */
  readonly sparsePairs: readonly number[];
};

/** @throws ARCHIVE_CORRUPT, ARCHIVE_AMBIGUOUS */
export function collectPaxRecords(data: Buffer): PaxRecords {
  const values = new Map<string, Buffer>();
  const sparsePairs: number[] = [];
  let twice: string | null = null;
  for (const [key, value] of parsePaxRecords(data)) {
    if (pairKeys.includes(key)) {
      if (key !== pairKeys[sparsePairs.length % 2])
        throw corrupt('has a sparse file with half of a pair in its map');
      sparsePairs.push(parseDecimal(value));
    } else if (values.has(key)) twice ??= key;
    else values.set(key, value);
  }
  if (twice !== null)
    throw ambiguous(values.get('path') ?? null, `has two PAX records '${printable(twice)}'`);
  return { values, sparsePairs };
}

/** @throws ARCHIVE_CORRUPT */
export function* parsePaxRecords(data: Buffer): Generator<[key: string, value: Buffer]> {
  let start = 0;
  while (start < data.length) {
    const space = data.indexOf(0x20, start);
    const digits = space < 0 ? '' : data.toString('latin1', start, space);
    const end = start + Number(digits);
    const equals = data.indexOf(0x3d, space);
    const valid = /^[1-9]\d{0,7}$/.test(digits) && end <= data.length && data[end - 1] === 0x0a;
    if (!valid || equals < 0 || equals >= end) throw corrupt('has a PAX header that cannot be read');
    yield [data.toString('utf8', space + 1, equals), data.subarray(equals + 1, end - 1)];
    start = end;
  }
}

export function parseDecimal(value: Buffer): number {
  return parseDecimalText(value.toString('latin1'));
}

/** A whole number. @throws ARCHIVE_CORRUPT */
export function parseDecimalText(text: string): number {
  const number = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(number)) throw corrupt('has a PAX header with a number that is none');
  return number;
}
