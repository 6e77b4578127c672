import { type FileHandle, mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';
import { KilnError } from '../model/error.ts';

/** The log of one step, open for the program that writes it. Disposal never throws. */
export type StepLog = AsyncDisposable & {
  readonly file: string;
  readonly fd: number;
  /** The last lines of this run of the step, without blank ones. Never rejects. */
  readTail(): Promise<string[]>;
  /** What was printed since this was asked last. */
  readNew(): AsyncGenerator<Buffer>;
};

const tailLines = 15;
const tailBytes = 8 * 1024;
const chunkBytes = 64 * 1024;

/** @throws KilnError INFRA, or STORAGE_FULL, with the log's path. */
export async function openStepLog(directory: string, name: string): Promise<StepLog> {
  const file = join(directory, `${name}.log`);
  try {
    await mkdir(directory, { recursive: true });
    const handle = await open(file, 'a+');
    const { size: start } = await handle.stat();
    let read = start;
    return {
      file,
      fd: handle.fd,
      readTail: () => readTail(handle, start).catch(() => []),
      async *readNew() {
        for (;;) {
          const { bytesRead, buffer } = await handle.read(
            Buffer.allocUnsafe(chunkBytes),
            0,
            chunkBytes,
            read,
          );
          if (bytesRead === 0) return;
          read += bytesRead;
          yield buffer.subarray(0, bytesRead);
        }
      },
      [Symbol.asyncDispose]: () => handle.close().catch(() => undefined),
    };
  } catch (error) {
    const code = KilnError.from(error).code === 'STORAGE_FULL' ? 'STORAGE_FULL' : 'INFRA';
    const why = error instanceof Error ? error.message : String(error);
    throw new KilnError(code, `The log ${file} cannot be written: ${why}`, { cause: error });
  }
}

async function readTail(handle: FileHandle, start: number): Promise<string[]> {
  const { size } = await handle.stat();
  const from = Math.max(start, size - tailBytes);
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(size - from), 0, size - from, from);
  const lines = buffer.toString('utf8', 0, bytesRead).split('\n');
  return lines.filter((line) => line.trim() !== '').slice(-tailLines);
}
