import { pipeline } from 'node:stream/promises';
import { folder, raw, tarEnd } from './tar.ts';

/** Run as a process of its own, as a client is, so that what it takes is not measured. */
export const senderFile = import.meta.filename;

/** Writes a large tar to standard output. Arguments: bytes of one big file, number of small entries. */
if (import.meta.main) {
  const [bigBytes = 0, smallEntries = 0] = process.argv.slice(2).map(Number);
  await pipeline(context(bigBytes, smallEntries), process.stdout);
}

async function* context(bigBytes: number, smallEntries: number): AsyncGenerator<Buffer> {
  const batch: Buffer[] = [];
  for (let index = 0; index < smallEntries; index += 1) {
    const name = `node_modules/package-${index % 2000}/dist/esm/Module-${index}.d.ts`;
    batch.push(raw(index % 10 === 0 ? folder(`${name}/`) : { name, content: 'x' }));
    if (batch.length === 100) yield Buffer.concat(batch.splice(0));
  }
  yield Buffer.concat(batch);
  if (bigBytes > 0) yield raw({ name: 'big', size: `${bigBytes.toString(8).padStart(11, '0')}\0` });
  const zeros = Buffer.alloc(65_536);
  for (let left = bigBytes; left > 0; left -= zeros.length) yield zeros.subarray(0, left);
  yield tarEnd;
}
