import { crc32, deflateRawSync } from 'node:zlib';

/** Zips made record by record, so that each field can be wrong. */
export type ZipItem = {
  readonly name: string | Buffer;
  readonly content?: string | Buffer;
  readonly method?: number;
  readonly flags?: number;
  /** Unix mode with its type bits; 0 for a zip that says nothing of modes. */
  readonly mode?: number;
  readonly extra?: Buffer;
  /** Sizes and checksum after the content, as a zip written to a pipe has them. */
  readonly described?: boolean;
  /** A last change of the local header, the descriptor, the central header. */
  readonly patchLocal?: (header: Buffer) => void;
  readonly patchDescriptor?: (descriptor: Buffer) => void;
  readonly patchCentral?: (header: Buffer) => void;
  readonly patchContent?: (bytes: Buffer) => Buffer;
};

export type ZipShape = {
  readonly prefix?: Buffer;
  /** Between the entries and the central directory. */
  readonly gap?: Buffer;
  readonly zip64?: boolean;
  readonly patchZip64?: (records: Buffer) => void;
  readonly comment?: Buffer;
  readonly patchEnd?: (end: Buffer) => void;
};

export function zip(items: readonly ZipItem[], shape: ZipShape = {}): Buffer {
  const parts: Buffer[] = [shape.prefix ?? Buffer.alloc(0)];
  const central: Buffer[] = [];
  let offset = shape.prefix?.length ?? 0;
  for (const item of items) {
    const made = zipItem(item, offset);
    parts.push(made.local);
    central.push(made.central);
    offset += made.local.length;
  }
  const gap = shape.gap ?? Buffer.alloc(0);
  const directory = Buffer.concat(central);
  const place = { entries: items.length, bytes: directory.length, offset: offset + gap.length };
  return Buffer.concat([...parts, gap, directory, endRecords(place, shape)]);
}

function zipItem(item: ZipItem, offset: number): { local: Buffer; central: Buffer } {
  const name = Buffer.from(item.name);
  const plain = Buffer.from(item.content ?? '');
  const method = item.method ?? 8;
  const packed = method === 8 ? deflateRawSync(plain) : plain;
  const content = item.patchContent?.(packed) ?? packed;
  const flags = (item.flags ?? 0x800) | (item.described ? 8 : 0);
  const extra = item.extra ?? Buffer.alloc(0);
  const sums = Buffer.alloc(12);
  sums.writeUInt32LE(crc32(plain), 0);
  sums.writeUInt32LE(content.length, 4);
  sums.writeUInt32LE(plain.length, 8);

  const common = Buffer.alloc(26);
  common.writeUInt16LE(20, 0);
  common.writeUInt16LE(flags, 2);
  common.writeUInt16LE(method, 4);
  common.writeUInt16LE(0x5a21, 8);
  sums.copy(common, 10);
  common.writeUInt16LE(name.length, 22);
  common.writeUInt16LE(extra.length, 24);

  const local = Buffer.concat([Buffer.from('PK\x03\x04'), common, name, extra]);
  if (item.described) local.fill(0, 14, 26);
  item.patchLocal?.(local);
  const descriptor = item.described ? Buffer.concat([Buffer.from('PK\x07\x08'), sums]) : Buffer.alloc(0);
  item.patchDescriptor?.(descriptor);

  const tail = Buffer.alloc(14);
  tail.writeUInt32LE(((item.mode ?? 0) << 16) >>> 0, 6);
  tail.writeUInt32LE(offset, 10);
  const madeBy = Buffer.from([20, item.mode === undefined ? 0 : 3]);
  const central = Buffer.concat([Buffer.from('PK\x01\x02'), madeBy, common, tail, name, extra]);
  item.patchCentral?.(central);
  return { local: Buffer.concat([local, content, descriptor]), central };
}

type Place = { readonly entries: number; readonly bytes: number; readonly offset: number };

function endRecords(place: Place, { zip64, patchZip64, comment, patchEnd }: ZipShape): Buffer {
  const end = Buffer.alloc(22);
  end.write('PK\x05\x06', 'latin1');
  end.writeUInt16LE(place.entries, 8);
  end.writeUInt16LE(place.entries, 10);
  end.writeUInt32LE(place.bytes, 12);
  end.writeUInt32LE(zip64 ? 0xffffffff : place.offset, 16);
  end.writeUInt16LE(comment?.length ?? 0, 20);
  patchEnd?.(end);
  const records = zip64 ? zip64Records(place) : Buffer.alloc(0);
  patchZip64?.(records);
  return Buffer.concat([records, end, comment ?? Buffer.alloc(0)]);
}

/** The zip64 end record, 56 bytes, and its locator, 20 bytes. */
function zip64Records({ entries, bytes, offset }: Place): Buffer {
  const records = Buffer.alloc(76);
  records.write('PK\x06\x06', 'latin1');
  records.writeBigUInt64LE(44n, 4);
  records.writeBigUInt64LE(BigInt(entries), 24);
  records.writeBigUInt64LE(BigInt(entries), 32);
  records.writeBigUInt64LE(BigInt(bytes), 40);
  records.writeBigUInt64LE(BigInt(offset), 48);
  records.write('PK\x06\x07', 56, 'latin1');
  records.writeBigUInt64LE(BigInt(offset + bytes), 64);
  records.writeUInt32LE(1, 72);
  return records;
}

/** Info-ZIP's second name of an entry. */
export function unicodePath(name: string): Buffer {
  const field = Buffer.concat([Buffer.alloc(9), Buffer.from(name)]);
  field.writeUInt16LE(0x7075, 0);
  field.writeUInt16LE(field.length - 4, 2);
  field.writeUInt8(1, 4);
  return field;
}
