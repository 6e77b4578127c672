import { createHash } from 'node:crypto';
import { pipeline } from 'node:stream/promises';
import { folder, raw, tarEnd } from './tar.ts';

/** Run as a process of its own, as a client is, so that what it takes is not measured. */
export const senderFile = import.meta.filename;

/** Writes a large tar to standard output. Arguments: bytes of one big file, number of small entries, `flat` for all in one folder. */
if (import.meta.main) {
  const [bigBytes, smallEntries, layout] = process.argv.slice(2);
  const nameOf = layout === 'flat' ? flatName : nestedName;
  await pipeline(context(Number(bigBytes), Number(smallEntries), nameOf), process.stdout);
}

function nestedName(index: number): string {
  return `node_modules/package-${index % 2000}/dist/esm/Module-${index}.d.ts`;
}

/** In no order, as directories are read. */
function flatName(index: number): string {
  return `objects/${createHash('sha256').update(String(index)).digest('hex')}`;
}

async function* context(
  bigBytes: number,
  smallEntries: number,
  nameOf: (index: number) => string,
): AsyncGenerator<Buffer> {
  const batch: Buffer[] = [];
  for (let index = 0; index < smallEntries; index += 1) {
    const name = nameOf(index);
    batch.push(raw(index % 10 === 0 ? folder(`${name}/`) : { name, content: 'x' }));
    if (batch.length === 100) yield Buffer.concat(batch.splice(0));
  }
  yield Buffer.concat(batch);
  if (bigBytes > 0) yield raw({ name: 'big', size: `${bigBytes.toString(8).padStart(11, '0')}\0` });
  const zeros = Buffer.alloc(65_536);
  for (let left = bigBytes; left > 0; left -= zeros.length) yield zeros.subarray(0, left);
  yield tarEnd;
}
