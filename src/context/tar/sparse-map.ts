import { corrupt } from './tar-header.ts';

/** Where a sparse file has data; holes are all else. */
export type Extent = { readonly offset: number; readonly bytes: number };

/** What a header says of a sparse file. */
export type SparseHeader = {
  /** Bytes of the file, holes and all. */
  readonly realSize: number;
  /** What of the map is known. */
  readonly extents: readonly Extent[];
  /** Where the rest of the map is: nowhere, in blocks behind the header (old GNU), or before the data (PAX 1.0). */
  readonly rest: 'none' | 'blocks' | 'data';
};

/** Real files have a few hundred; a map without end would be kept in memory. */
const maxExtents = 32_768;

/** @throws KilnError ARCHIVE_CORRUPT */
export function checkExtentCount(count: number): void {
  if (count > maxExtents) throw corrupt(`has a sparse file of more than ${maxExtents} parts`);
}

/** A map must be in order and within its file, and ask for as many bytes as are stored. @throws KilnError ARCHIVE_CORRUPT */
export function checkMap(extents: readonly Extent[], realSize: number, storedBytes: number): void {
  checkExtentCount(extents.length);
  let end = 0;
  let sum = 0;
  for (const { offset, bytes } of extents) {
    if (offset < end) throw corrupt('has a sparse file whose map overlaps or is in no order');
    end = offset + bytes;
    sum += bytes;
  }
  if (end > realSize) throw corrupt('has a sparse file whose map goes beyond its size');
  if (sum !== storedBytes) throw corrupt('has a sparse file whose map does not fit its data');
}

/** Offset, bytes, offset, bytes … as extents. */
export function toExtents(numbers: readonly number[]): Extent[] {
  const extents: Extent[] = [];
  for (let index = 0; index < numbers.length; index += 2)
    extents.push({ offset: numbers[index] ?? 0, bytes: numbers[index + 1] ?? 0 });
  return extents;
}
