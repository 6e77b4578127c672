import type { BuildRecord, Verdict } from '../../model/build.ts';
import { describeEnd } from '../../model/describe-end.ts';
import type { BuildEvent, WatchItem } from '../../model/event.ts';
import type { Writer } from './client.ts';
import { describeRefusals } from './refusals.ts';

export type LogTextOptions = {
  readonly id: string;
  readonly keepAliveMs: number;
  /** The build's record after this verdict. */
  readonly getEnded: (verdict: Verdict) => Promise<BuildRecord>;
};

/**
 * Writes a build as text: what it waits for until its log begins, the log's bytes unchanged, how it ended. What is kiln's own
 * has a line of its own, begins with `kiln: ` and never stands between bytes of one attempt's log.
 */
export async function writeLog(
  items: AsyncIterable<WatchItem>,
  writer: Writer,
  { id, keepAliveMs, getEnded }: LogTextOptions,
): Promise<Verdict | null> {
  const text = new LogText(id);
  let verdict: Verdict | null = null;
  const timer = setInterval(() => writer.nudge(() => text.keepAlive()), keepAliveMs);
  try {
    for await (const item of items) {
      const piece = item.kind === 'log' ? text.log(item.data) : text.event(item.event);
      for (const part of piece) if (part.length > 0) await writer.write(part);
      if (item.kind === 'event' && item.event.type === 'verdict') verdict = item.event.verdict;
    }
  } finally {
    clearInterval(timer);
  }
  if (verdict) await writer.write(text.end(await getEnded(verdict)));
  return verdict;
}

/** The same text, piece by piece, without any sign of life. */
export async function* readText(
  items: AsyncIterable<WatchItem>,
  { id, getEnded }: Pick<LogTextOptions, 'id' | 'getEnded'>,
): AsyncGenerator<Buffer | string> {
  const text = new LogText(id);
  let verdict: Verdict | null = null;
  for await (const item of items) {
    yield* item.kind === 'log' ? text.log(item.data) : text.event(item.event);
    if (item.kind === 'event' && item.event.type === 'verdict') verdict = item.event.verdict;
  }
  if (verdict) yield text.end(await getEnded(verdict));
}

/** What to write next. INVARIANT: once the log of an attempt has begun, nothing but that is written until its end. */
class LogText {
  readonly #id: string;
  #waitsFor = 'a VM';
  /** Whether the reader knows what it waits for. */
  #saidSo = false;
  #logBegun = false;
  /** Whether what was written last, of kiln or of the log, has no end of its line yet. */
  #lineOpen = false;
  /** Warnings that came while the log was being written; they follow it. */
  #later = '';

  constructor(id: string) {
    this.#id = id;
  }

  log(data: Buffer): (Buffer | string)[] {
    const before = this.#logBegun ? '' : this.#endLine();
    this.#logBegun = true;
    this.#lineOpen = data.at(-1) !== 0x0a;
    return [before, data];
  }

  event(event: BuildEvent): string[] {
    switch (event.type) {
      case 'queued':
        this.#waitFor(`a VM, place ${event.place} in the queue`);
        return [this.keepAlive()];
      case 'state':
        if (event.state === 'running') this.#waitFor('BuildKit to begin');
        return [];
      case 'warning':
        return [this.#say(`kiln: warning: ${event.message}\n`)];
      case 'attempt':
        return [this.#begin(`kiln: attempt ${event.attempt}: ${event.message}\n`)];
      case 'paused':
        return [this.#begin(`kiln: build ${this.#id}: ${event.message}\n`)];
      case 'pushed':
        return [this.#say(`kiln: pushed ${event.image.reference}@${event.image.digest}\n`)];
      case 'verdict':
      case 'status':
      case 'egress':
      case 'artifact':
      case 'step':
        return [];
    }
  }

  /**
   * What the build waits for is said once. After that a line grows by one dot at a time: a connection on which nothing moves is
   * closed by proxies, and the same line again and again would tell nobody anything.
   */
  keepAlive(): string {
    if (this.#logBegun) return '';
    if (!this.#saidSo) {
      this.#saidSo = true;
      return `${this.#endLine()}kiln: build ${this.#id} waits for ${this.#waitsFor}\n`;
    }
    if (this.#lineOpen) return '.';
    this.#lineOpen = true;
    return 'kiln: still waiting .';
  }

  end(record: BuildRecord): string {
    const refusals = describeRefusals(record.egress).map((line) => `kiln: ${line}\n`);
    return `${this.#endLine()}${this.#later}${refusals.join('')}kiln: build ${this.#id} ${describeEnd(record)}\n`;
  }

  #waitFor(what: string): void {
    this.#saidSo = false;
    this.#waitsFor = what;
  }

  #say(line: string): string {
    if (!this.#logBegun) return `${this.#endLine()}${line}`;
    this.#later += line;
    return '';
  }

  /** Between the log of one attempt and what follows it. */
  #begin(line: string): string {
    const before = `${this.#endLine()}${this.#later}`;
    this.#later = '';
    this.#logBegun = false;
    this.#waitFor('a VM');
    return `${before}${line}`;
  }

  #endLine(): string {
    const end = this.#lineOpen ? '\n' : '';
    this.#lineOpen = false;
    return end;
  }
}
