import { join } from 'node:path';
import { removeQuietly } from '../lib/files.ts';
import type { Logger } from '../lib/logger.ts';
import {
  addAttempt,
  appendEvent,
  type BuildFiles,
  createBuildFiles,
  reopenBuildFiles,
} from '../logs/build-files.ts';
import { type BuildRecord, isTerminal, type Phase, type Verdict } from '../model/build.ts';
import { KilnError } from '../model/error.ts';
import type { BuildEvent } from '../model/event.ts';
import type { Observer } from '../model/observer.ts';
import { type BuildStore, endRecord } from '../store/build-store.ts';
import { endAttempt, type Lost, type Used } from './attempts.ts';

/** `Omit` that keeps the members of a union apart. */
type WithoutTime<Event> = Event extends BuildEvent ? Omit<Event, 'at'> : never;

export type JournalOptions = {
  readonly store: BuildStore;
  /** Holds a folder for each build. */
  readonly buildsDirectory: string;
  /** Bytes of log and events together. */
  readonly maxLogBytes: number;
  /** Where somebody counts. */
  readonly observer?: Observer;
  readonly logger: Logger;
};

/**
 * The one writer of a build: its record in the store, its events, its plain log. Writes happen in the order they were asked
 * for; a caller that does not wait for one still finds its failure in `finish`.
 */
export class Journal {
  /** As they are now: another attempt has another log. */
  files: BuildFiles;
  readonly #options: JournalOptions;
  #record: BuildRecord;
  /** Nothing follows the verdict, whoever may still be at work for the build. */
  #ending = false;
  /** Why the end of the log is missing from the disk, if it is. */
  #lost: KilnError | null = null;
  #saidLost = false;
  #ended = false;
  #paused = false;

  private constructor(record: BuildRecord, files: BuildFiles, options: JournalOptions) {
    this.#record = record;
    this.files = files;
    this.#options = options;
  }

  /** Makes the build's files, with what is known of it at its beginning. */
  static async open(record: BuildRecord, options: JournalOptions): Promise<Journal> {
    const files = await createBuildFiles(join(options.buildsDirectory, record.id));
    const journal = new Journal(record, files, options);
    try {
      await journal.event({ type: 'state', state: 'queued' });
      for (const message of warningsOf(record)) await journal.event({ type: 'warning', message });
      return journal;
    } catch (error) {
      await journal.discard();
      throw error;
    }
  }

  /**
   * Goes on with a build of an earlier run of the service, which is queued again.
   * @param lost What became of the attempt that ran then; null where none did.
   * @throws where its files are gone; KilnError STORAGE_FULL
   */
  static async resume(
    record: BuildRecord,
    lost: { readonly error: Lost; readonly used: Used } | null,
    options: JournalOptions,
  ): Promise<Journal> {
    const directory = join(options.buildsDirectory, record.id);
    const files = await reopenBuildFiles(directory, record.attempts.length + 1);
    const journal = new Journal(record, files, options);
    try {
      if (lost) await journal.#queueAgain(lost.error, lost.used);
      return journal;
    } catch (error) {
      await journal.close().catch(() => undefined);
      throw error;
    }
  }

  /** Of the build: its log, its events, its input. */
  get directory(): string {
    return join(this.#options.buildsDirectory, this.#record.id);
  }

  /** Whether the service leaves it to its next start. */
  get paused(): boolean {
    return this.#paused;
  }

  get record(): BuildRecord {
    return this.#record;
  }

  /** Whether all that can be written of its end is. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Of a build that was not begun: leaves nothing of it. Never rejects, as it would hide why the build was not begun. */
  async discard(): Promise<void> {
    await this.close().catch(() => undefined);
    await removeQuietly(this.directory);
  }

  /** Ends the files as they are. */
  async close(): Promise<void> {
    await Promise.all([this.files.log.end(), this.files.events.end()]);
  }

  /** @throws once the build ends; KilnError STORAGE_FULL, INFRA for one that is too large */
  async event(event: WithoutTime<BuildEvent>): Promise<void> {
    this.#refuseAtEnd();
    await this.#append(event);
  }

  /** An event that its teller does not wait for. Where the disk does not take it, the service's log says so, once a build. */
  mention(event: WithoutTime<BuildEvent>): void {
    if (this.#ending) return;
    void this.#append(event).catch((error: unknown) => {
      if (this.#saidLost) return;
      this.#saidLost = true;
      const { logger } = this.#options;
      logger.warn(
        { build: this.#record.id, event: event.type, error },
        'events of a build could not be written',
      );
    });
  }

  /** Bytes of the plain log. @throws KilnError LOG_TOO_LARGE */
  async log(bytes: Buffer): Promise<void> {
    this.#refuseBeyondLimit();
    await this.files.log.append(bytes);
    this.#options.observer?.logged(bytes.length);
  }

  /** An object of the trace. @throws KilnError LOG_TOO_LARGE */
  async status(status: unknown): Promise<void> {
    this.#refuseBeyondLimit();
    await this.event({ type: 'status', status });
  }

  /** A build may print without end, and all of it is kept. */
  #refuseBeyondLimit(): void {
    const { maxLogBytes } = this.#options;
    const { log, earlier, events } = this.files;
    const bytes = [log, ...earlier, events].reduce((sum, { size }) => sum + size, 0);
    if (bytes < maxLogBytes) return;
    throw new KilnError(
      'LOG_TOO_LARGE',
      `The build printed more than is kept of one: ${maxLogBytes} bytes, its events included.`,
      { details: { limit: maxLogBytes } },
    );
  }

  /**
   * Changes the record, in memory and in the store: what the store does not take is not so.
   * @throws once the build ends; KilnError STORAGE_FULL
   */
  async change(change: Partial<BuildRecord>): Promise<void> {
    this.#refuseAtEnd();
    const before = this.#record;
    this.#record = { ...before, ...change };
    try {
      await this.#options.store.update(this.#record);
    } catch (error) {
      const names = Object.keys(change) as (keyof BuildRecord)[];
      // Of the changes that came meanwhile nothing is lost.
      if (!this.#ending) this.#record = { ...this.#record, ...pick(before, names) };
      throw error;
    }
  }

  /** Tells whoever follows the build, and whoever reads its record later. */
  async warn(message: string): Promise<void> {
    await this.change({ warnings: [...this.#record.warnings, message] });
    await this.event({ type: 'warning', message });
  }

  async reach(phase: Phase, change: Partial<BuildRecord> = {}): Promise<void> {
    await this.change({ ...change, times: { ...this.#record.times, [phase]: new Date().toISOString() } });
  }

  /** The build has a VM: an attempt begins. The image of the VM may be another than the one that served when it was sent. */
  async begin(vm: NonNullable<BuildRecord['vm']>, entry: BuildRecord['entry']): Promise<void> {
    const { attempts } = this.#record;
    const started = new Date().toISOString();
    const attempt = {
      number: attempts.length + 1,
      vm: vm.id,
      started,
      ended: null,
      seconds: null,
      error: null,
    };
    await this.reach('leased', { state: 'running', vm, entry, attempts: [...attempts, attempt] });
    await this.event({ type: 'state', state: 'running' });
  }

  /** The attempt was no good: its log ends, and the build is queued for another. */
  async tryAgain(error: Lost, used: Used): Promise<void> {
    this.#refuseAtEnd();
    this.files = await addAttempt(this.directory, this.files);
    await this.#queueAgain(error, used);
  }

  /** Events first: after a crash between the two the record still says what is to be done. */
  async #queueAgain({ code, message }: Lost, { seconds, egress }: Used): Promise<void> {
    const { attempts, times } = this.#record;
    await this.event({ type: 'attempt', attempt: attempts.length + 1, code, message });
    await this.event({ type: 'state', state: 'queued' });
    await this.change({
      // What it built before it was lost, another attempt builds anew, or fails to.
      ...{ state: 'queued', vm: null, imageDigest: null, artifact: null },
      attempts: endAttempt(attempts, { seconds, error: { code, message } }),
      times: { ...times, leased: null, contextReady: null, buildFinished: null },
      egress: [...this.#record.egress, ...egress],
    });
  }

  /**
   * Leaves the build as it is, for the next start of the service, which learns from the record where it connected to. Never rejects, as
   * nobody could do anything about it.
   */
  async pause(message: string, { egress }: Pick<Used, 'egress'>): Promise<void> {
    const known = { egress: [...this.#record.egress, ...egress] };
    if (egress.length > 0) await this.change(known).catch(() => undefined);
    this.#ending = true;
    this.#paused = true;
    await this.#append({ type: 'paused', message }).catch(() => undefined);
    await this.close().catch(() => undefined);
  }

  /**
   * Ends the build. Whoever sees the verdict event finds the whole log in the file and a terminal record. Until it has `ended`
   * it may be called again and goes on where it failed.
   * @throws KilnError STORAGE_FULL; INTERNAL after all that, where the disk lost some of the log.
   */
  async finish(verdict: Verdict, { seconds, egress }: Used): Promise<void> {
    this.#ending = true;
    await this.files.log.end().catch((error: unknown) => {
      this.#lost = KilnError.from(error);
    });
    if (!isTerminal(this.#record.state)) {
      const record = {
        ...this.#record,
        attempts: endAttempt(this.#record.attempts, { seconds, error: null }),
        egress: [...this.#record.egress, ...egress],
      };
      const ended = endRecord(record, verdict, new Date().toISOString());
      await this.#options.store.update(ended);
      this.#record = ended;
    }
    await this.#append({ type: 'verdict', verdict });
    await this.files.events.end();
    this.#ended = true;
    if (this.#lost) throw this.#lost;
  }

  #append(event: WithoutTime<BuildEvent>): Promise<void> {
    return appendEvent(this.files, { ...event, at: new Date().toISOString() });
  }

  #refuseAtEnd(): void {
    if (this.#ending)
      throw new Error(`Build ${this.#record.id} ends; nothing of it is written down any more.`);
  }
}

function pick(record: BuildRecord, names: readonly (keyof BuildRecord)[]): Partial<BuildRecord> {
  return Object.fromEntries(names.map((name) => [name, record[name]]));
}

/** All of them, those of named contexts with their names. */
function warningsOf({ context, namedContexts, warnings }: BuildRecord): string[] {
  const ofNamed = namedContexts.flatMap(({ name, archive }) =>
    (archive?.warnings ?? []).map((message) => `Context '${name}': ${message}`),
  );
  return [...(context?.warnings ?? []), ...ofNamed, ...warnings];
}
