import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { removeQuietly, replaceFile } from '../lib/files.ts';
import { appendEvent, type BuildFiles, createBuildFiles } from '../logs/build-files.ts';
import type { Verdict } from '../model/build.ts';
import { readVerdict } from '../model/earlier-forms.ts';
import { KilnError } from '../model/error.ts';
import type { Operation, Step } from '../model/operation.ts';

/** Far more than the steps print; they print what strangers' programs say. */
const maxLogBytes = 64 * 1024 * 1024;

const recordName = 'record.json';

/** The one writer of an operation: its record, its events and its log, in a folder of its own. */
export class OperationJournal {
  readonly files: BuildFiles;
  readonly #directory: string;
  #operation: Operation;

  private constructor(operation: Operation, directory: string, files: BuildFiles) {
    this.#operation = operation;
    this.#directory = directory;
    this.files = files;
  }

  /** Makes the folder, with what is known at the beginning, or leaves nothing. @param parent Holds a folder for each operation. */
  static async open(operation: Operation, parent: string): Promise<OperationJournal> {
    const directory = join(parent, operation.id);
    const files = await createBuildFiles(directory);
    try {
      await writeRecord(directory, operation);
      return new OperationJournal(operation, directory, files);
    } catch (error) {
      await Promise.all([files.log.end(), files.events.end()]).catch(() => undefined);
      await removeQuietly(directory);
      throw error;
    }
  }

  get operation(): Operation {
    return this.#operation;
  }

  /** Bytes that a step printed; those beyond the bound are dropped. */
  async log(bytes: Uint8Array): Promise<void> {
    if (this.files.log.size < maxLogBytes) await this.files.log.append(bytes);
  }

  async change(change: Partial<Operation>): Promise<void> {
    const changed = { ...this.#operation, ...change };
    await writeRecord(this.#directory, changed);
    this.#operation = changed;
  }

  /** The state of a step, with the time. */
  async step(name: Step['name'], state: Step['state']): Promise<void> {
    const at = new Date().toISOString();
    const times = state === 'running' ? { started: at } : { ended: at };
    const steps = this.#operation.steps.map((step) =>
      step.name === name ? { ...step, state, ...times } : step,
    );
    await this.change({ steps });
    const step = steps.find((one) => one.name === name);
    if (step) await appendEvent(this.files, { at, type: 'step', step });
  }

  /**
   * Ends the operation: whoever sees the verdict event finds the whole log, and the record ended. What failed may be tried again, and
   * goes on from there.
   * @throws KilnError STORAGE_FULL
   */
  async finish(verdict: Verdict): Promise<void> {
    // What the disk lost of the log is no reason to have no end.
    await this.files.log.end().catch(() => undefined);
    if (this.#operation.state === 'running') await this.change(endOperation(this.#operation, verdict));
    await appendEvent(this.files, { at: new Date().toISOString(), type: 'verdict', verdict });
    await this.close();
  }

  /** Whoever follows it gets no more. Never rejects. */
  async close(): Promise<void> {
    for (const file of [this.files.log, this.files.events]) await file.end().catch(() => undefined);
  }
}

/** The operation at its end, as its record has it: no step goes on. */
export function endOperation(operation: Operation, verdict: Verdict): Operation {
  const ended = new Date().toISOString();
  const steps = operation.steps.map((step): Step => {
    return step.state === 'running' ? { ...step, state: 'failed', ended } : step;
  });
  return { ...operation, state: verdict.state, verdict, steps, ended };
}

/** It needs no schema, as nobody but kiln writes it; but an earlier one did not write all that there is today. */
function readEarlier(record: string): Operation {
  const operation = JSON.parse(record);
  const request = { targets: ['ctr', 'vm'], args: {}, noCache: false, ...operation.request };
  const verdict = operation.verdict && readVerdict(operation.verdict);
  return { ctrDigest: null, dqdDigest: null, published: [], ...operation, request, verdict };
}

/** @throws KilnError NOT_FOUND */
export async function readOperation(directory: string): Promise<Operation> {
  try {
    return readEarlier(await readFile(join(directory, recordName), 'utf8'));
  } catch (cause) {
    throw new KilnError('NOT_FOUND', 'There is no operation with this id.', { cause });
  }
}

/** Whole or not at all. */
export async function writeRecord(directory: string, operation: Operation): Promise<void> {
  try {
    await mkdir(directory, { recursive: true });
    await replaceFile(join(directory, recordName), `${JSON.stringify(operation, null, 2)}\n`);
  } catch (error) {
    throw KilnError.from(error);
  }
}
