import { join } from 'node:path';
import { removeQuietly } from '../lib/files.ts';
import { appendEvent, type BuildLog, createBuildLog } from '../logs/build-log.ts';
import type { BuildRecord, EgressDestination, Phase, Verdict } from '../model/build.ts';
import type { BuildEvent } from '../model/event.ts';
import { type BuildStore, endRecord } from '../store/build-store.ts';

/** `Omit` that keeps the members of a union apart. */
type WithoutTime<Event> = Event extends BuildEvent ? Omit<Event, 'at'> : never;

/**
 * The one writer of a build: its record in the store, its events, its plain log. Writes happen in the order they were asked
 * for; a caller that does not wait for one still finds its failure in `finish`.
 */
export class Journal {
  readonly files: BuildLog;
  readonly #store: BuildStore;
  readonly #directory: string;
  #record: BuildRecord;

  private constructor(record: BuildRecord, directory: string, files: BuildLog, store: BuildStore) {
    this.#record = record;
    this.#directory = directory;
    this.files = files;
    this.#store = store;
  }

  /** @param parent Holds a folder for each build. */
  static async open(record: BuildRecord, parent: string, store: BuildStore): Promise<Journal> {
    const directory = join(parent, record.id);
    return new Journal(record, directory, await createBuildLog(directory), store);
  }

  get record(): BuildRecord {
    return this.#record;
  }

  /** The record comes last: a build that is in the store has all its files. */
  async begin(): Promise<void> {
    await this.event({ type: 'state', state: 'queued' });
    for (const message of this.#record.context?.warnings ?? [])
      await this.event({ type: 'warning', message });
    await this.#store.insert(this.#record);
  }

  /** Of a build that was not begun: leaves nothing of it. */
  async discard(): Promise<void> {
    await Promise.all([this.files.log.end(), this.files.events.end()]);
    await removeQuietly(this.#directory);
  }

  event(event: WithoutTime<BuildEvent>): Promise<void> {
    return appendEvent(this.files, { ...event, at: new Date().toISOString() });
  }

  log(bytes: Buffer): Promise<void> {
    return this.files.log.append(bytes);
  }

  /** Changes the record, in memory and in the store. */
  async change(change: Partial<BuildRecord>): Promise<void> {
    this.#record = { ...this.#record, ...change };
    await this.#store.update(this.#record);
  }

  async reach(phase: Phase, change: Partial<BuildRecord> = {}): Promise<void> {
    await this.change({ ...change, times: { ...this.#record.times, [phase]: new Date().toISOString() } });
  }

  /** Ends the build. Whoever sees the verdict event finds the whole log in the file and a terminal record. */
  async finish(verdict: Verdict, egress: readonly EgressDestination[]): Promise<BuildRecord> {
    await this.files.log.end();
    const at = new Date().toISOString();
    const ended = endRecord({ ...this.#record, egress }, verdict, at);
    try {
      await this.#store.update(ended);
      this.#record = ended;
      await this.event({ type: 'verdict', verdict });
    } finally {
      await this.files.events.end();
    }
    return ended;
  }
}
