import { readFile, rename, writeFile } from 'node:fs/promises';
import { z } from 'zod';
import { type FileSeal, fileSealSchema, looksSealed, sealFile } from './file-seal.ts';

/** By path, what each file was when all of it was last read, also where that was not what it should be. */
const recordSchema = z.record(z.string(), fileSealSchema);
type SealRecord = z.infer<typeof recordSchema>;

/** What was found of one file: its seal, or why it cannot be read. */
type Finding = { readonly path: string; readonly seal?: FileSeal; readonly unreadable?: string };

/** sha256 of each file, by its absolute path. */
export type Hashes = Readonly<Record<string, string>>;

/**
 * Files that must stay what they were made as. Reading all of them takes seconds, so a record on the disk keeps what each looked like
 * when it was last read, and what was found then: while it looks the same, that is believed. `check` believes nothing and reads every byte.
 */
export class SealedFiles {
  /** What each file must have. */
  readonly hashes: Hashes;
  readonly #record: string | null;
  #checked: boolean;

  /** @param record Path of the record; null: nothing is remembered, so each look reads every byte. */
  constructor(hashes: Hashes, { record, checked = false }: { record: string | null; checked?: boolean }) {
    this.hashes = hashes;
    this.#record = record;
    this.#checked = checked;
  }

  /** What the files are now is what they must stay. Reads every byte. @throws when a file cannot be read */
  static async seal(paths: readonly string[], record: string, signal: AbortSignal): Promise<SealedFiles> {
    const seals = await Promise.all(paths.map(async (path) => [path, await sealFile(path, signal)] as const));
    await writeRecord(record, Object.fromEntries(seals));
    const hashes = Object.fromEntries(seals.map(([path, { sha256 }]) => [path, sha256]));
    return new SealedFiles(hashes, { record, checked: true });
  }

  /** Whether every byte of every file was read through this object, and found as it must be. */
  get checked(): boolean {
    return this.#checked;
  }

  /**
   * A few milliseconds; files that look otherwise than when they were last read are read whole.
   * @returns what is wrong with one of the files, as a sentence without its full stop; null where nothing is.
   * @throws what says nothing of the files: the signal's reason, too many open files
   */
  async look(signal: AbortSignal): Promise<string | null> {
    return this.#find(this.#record === null ? {} : await readRecord(this.#record), signal);
  }

  /** Reads every byte of every file: seconds; only once where nothing is wrong. Returns and throws as `look` does. */
  async check(signal: AbortSignal): Promise<string | null> {
    return this.#checked ? null : this.#find({}, signal);
  }

  async #find(known: SealRecord, signal: AbortSignal): Promise<string | null> {
    const findings: Finding[] = [];
    // One after the other: one thread hashes them all, and uploads besides.
    for (const path of Object.keys(this.hashes)) findings.push(await findSeal(path, known[path], signal));
    signal.throwIfAborted();
    const isNew = findings.map(({ path, seal }) => seal !== known[path]);
    if (this.#record !== null && isNew.includes(true)) await writeRecord(this.#record, toRecord(findings));
    const damage = findings.map((finding) => this.#describeDamage(finding)).find((text) => text !== null);
    this.#checked = damage === undefined && !isNew.includes(false);
    return damage ?? null;
  }

  #describeDamage({ path, seal, unreadable }: Finding): string | null {
    if (unreadable !== undefined) return `${path} cannot be read (${unreadable})`;
    return seal?.sha256 === this.hashes[path] ? null : `${path} is not what it was made as`;
  }
}

/** The very object `known` where the file still looks so. */
async function findSeal(path: string, known: FileSeal | undefined, signal: AbortSignal): Promise<Finding> {
  try {
    if (known && (await looksSealed(path, known))) return { path, seal: known };
    return { path, seal: await sealFile(path, signal) };
  } catch (error) {
    if (!isOfFile(error)) throw error;
    return { path, unreadable: error.message };
  }
}

/** What this process lacks for a moment says nothing of a file. */
const ofProcess: readonly unknown[] = ['EMFILE', 'ENFILE', 'ENOMEM'];

function isOfFile(error: unknown): error is Error {
  return error instanceof Error && 'code' in error && 'syscall' in error && !ofProcess.includes(error.code);
}

function toRecord(findings: readonly Finding[]): SealRecord {
  return Object.fromEntries(findings.flatMap(({ path, seal }) => (seal ? [[path, seal]] : [])));
}

/** Empty where there is none that can be read: then all is read again. */
async function readRecord(path: string): Promise<SealRecord> {
  try {
    return recordSchema.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch {
    return {};
  }
}

/** Never rejects: on a full disk kiln still starts, and what is not remembered is read again. */
async function writeRecord(path: string, record: SealRecord): Promise<void> {
  try {
    await writeFile(`${path}.new`, JSON.stringify(record), { mode: 0o600 });
    await rename(`${path}.new`, path);
  } catch (cause) {
    process.emitWarning(new Error(`${path} could not be written.`, { cause }));
  }
}
