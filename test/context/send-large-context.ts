import { createHash } from 'node:crypto';
import { pipeline } from 'node:stream/promises';
import { file, folder, gnuLong, hardlink, oldSparse, pax, raw, symlink, tarEnd, withXattr } from './tar.ts';

/** Run as a process of its own, as a client is, so that what it takes is not measured. */
export const senderFile = import.meta.filename;

/** Writes a large tar to standard output. Arguments: bytes of one big file, number of members besides, their layout. */
if (import.meta.main) {
  const [bigBytes, members, layout = 'nested'] = process.argv.slice(2);
  const memberOf = layouts()[layout];
  if (!memberOf) throw new Error(`There is no layout '${layout}'.`);
  await pipeline(context(Number(bigBytes), Number(members), memberOf), process.stdout);
}

function layouts(): Readonly<Record<string, (index: number) => Buffer>> {
  return {
    nested: (index) => {
      const name = `node_modules/package-${index % 2000}/dist/esm/Module-${index}.d.ts`;
      return raw(index % 10 === 0 ? folder(`${name}/`) : file(name));
    },
    /** In no order, as directories are read. */
    flat: (index) => raw(file(`objects/${createHash('sha256').update(String(index)).digest('hex')}`)),
    'empty files': (index) => raw(file(`${index % 1000}/${index}`, '')),
    folders: (index) => raw(folder(`${index % 1000}/${index}/`)),
    /** 250 folders deep, each in the one before. */
    'deep folders': (index) => named(`${Math.floor(index / 250)}/${'d/'.repeat(index % 250)}`, folder('x')),
    'long names': (index) => named(`${index}-${'n'.repeat(140)}`, file('x')),
    links: (index) =>
      raw(
        index % 2 ? hardlink(`h${index}`, 'l0') : index ? symlink(`l${index}`, 't'.repeat(90)) : file('l0'),
      ),
    'links to links': (index) =>
      raw(index === 0 ? symlink('l', 't') : hardlink(`${index % 900}/${index}`, 'l')),
    repeats: (index) =>
      index % 3 === 0
        ? Buffer.concat([
            pax({ 'SCHILY.xattr.user.x': `${index}`.padEnd(100) }),
            raw(folder(`${index % 900}/`)),
          ])
        : raw(file(`${index % 900}/x`, `${index}`)),
    /** Each of 2000 parts of one byte. */
    'sparse parts': (index) =>
      oldSparse(`${index}`, { realSize: 8000, map: parts(2000, 1, 3), data: 'x'.repeat(2000) }),
    /** Each of 20 holes that are not written, and data enough not to be a bomb. */
    holes: (index) =>
      oldSparse(`${index}`, {
        realSize: 20 * 66_000,
        map: parts(20, 1000, 65_000),
        data: 'x'.repeat(20_000),
      }),
    'large xattrs': (index) => withXattr(`${index}`, 60_000),
    xattrs: (index) =>
      Buffer.concat([pax({ 'SCHILY.xattr.user.x': `${index}`.padEnd(100) }), raw(file(`${index}`))]),
  };
}

/** A sparse map: so many parts of so many bytes, each after a hole. */
function parts(count: number, bytes: number, hole: number): number[] {
  return Array.from({ length: count }, (_, index) => [index * (bytes + hole) + hole, bytes]).flat();
}

function named(name: string, member: ReturnType<typeof file>): Buffer {
  return Buffer.concat([gnuLong('L', name), raw(member)]);
}

async function* context(
  bigBytes: number,
  members: number,
  memberOf: (index: number) => Buffer,
): AsyncGenerator<Buffer> {
  const batch: Buffer[] = [];
  for (let index = 0; index < members; index += 1) {
    batch.push(memberOf(index));
    if (batch.length === 100) yield Buffer.concat(batch.splice(0));
  }
  yield Buffer.concat(batch);
  if (bigBytes > 0) yield raw({ name: 'big', size: `${bigBytes.toString(8).padStart(11, '0')}\0` });
  const zeros = Buffer.alloc(65_536);
  for (let left = bigBytes; left > 0; left -= zeros.length) yield zeros.subarray(0, left);
  yield tarEnd;
}
