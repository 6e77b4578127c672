import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { promisify } from 'node:util';
import { installTools } from '../install-tools.ts';
import { file, tar } from './tar.ts';

const run = promisify(execFile);
const MiB = 1024 * 1024;

/** Installs all of them. */
export function installCompressors(): Promise<void> {
  return installTools([
    { find: 'xz', package: 'xz-utils' },
    { find: 'bzip2', package: 'bzip2' },
    { find: 'pbzip2', package: 'pbzip2' },
    { find: 'zstd', package: 'zstd' },
    { find: 'pzstd', package: 'zstd' },
    { find: 'bsdtar', package: 'libarchive-tools' },
  ]);
}

/** A tar of three files, and the digest that a context of it has. */
export const archive = tar(
  file('Dockerfile', 'FROM scratch\n'),
  file('noise', noise(150_000)),
  file('text', 'text '.repeat(20_000)),
);
export const digest = `sha256:${createHash('sha256').update(archive).digest('hex')}`;

/** What a tool, with its options, makes of bytes. */
export async function compress(tool: string, bytes: Buffer = archive): Promise<Buffer> {
  const [program = '', ...args] = tool.split(' ');
  const running = run(program, args, { encoding: 'buffer', maxBuffer: 64 * MiB });
  running.child.stdin?.end(bytes);
  return (await running).stdout;
}

/** Bytes that do not compress, the same in every run. */
export function noise(length: number): Buffer {
  return createHash('shake256', { outputLength: length }).update('noise').digest();
}
