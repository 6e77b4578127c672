import type { Verdict } from '../../model/build.ts';
import type { BuildEvent, WatchItem } from '../../model/event.ts';
import type { Writer } from './client.ts';

/**
 * Writes a build as text: what it waits for until its log begins, the log's bytes unchanged, how it ended. What is kiln's own
 * has a line of its own, begins with `kiln: ` and never stands between bytes of the log.
 */
export async function writeLog(
  items: AsyncIterable<WatchItem>,
  writer: Writer,
  options: { id: string; keepAliveMs: number },
): Promise<Verdict | null> {
  const text = new LogText(options.id);
  const timer = setInterval(() => writer.nudge(text.keepAlive()), options.keepAliveMs);
  try {
    for await (const item of items) {
      const piece = item.kind === 'log' ? text.log(item.data) : text.event(item.event);
      if (piece.length > 0) await writer.write(piece);
    }
  } finally {
    clearInterval(timer);
  }
  return text.verdict;
}

/** What to write next. INVARIANT: once the log has begun, nothing but the log is written until the verdict. */
class LogText {
  verdict: Verdict | null = null;
  readonly #id: string;
  readonly #started = performance.now();
  #waitsFor = 'a VM';
  #logBegun = false;
  #lineOpen = false;
  /** Warnings that came while the log was being written; they follow it. */
  #later = '';

  constructor(id: string) {
    this.#id = id;
  }

  log(data: Buffer): Buffer {
    this.#logBegun = true;
    this.#lineOpen = data.at(-1) !== 0x0a;
    return data;
  }

  event(event: BuildEvent): string {
    switch (event.type) {
      case 'queued':
        this.#waitsFor = `a VM, place ${event.place} in the queue`;
        return this.keepAlive();
      case 'state':
        if (event.state === 'running') this.#waitsFor = 'BuildKit to begin';
        return '';
      case 'warning':
        return this.#say(`kiln: warning: ${event.message}\n`);
      case 'verdict':
        this.verdict = event.verdict;
        return `${this.#lineOpen ? '\n' : ''}${this.#later}kiln: build ${this.#id} ${this.#describe(event.verdict)}\n`;
      case 'status':
      case 'egress':
      case 'artifact':
        return '';
    }
  }

  keepAlive(): string {
    return this.#logBegun ? '' : `kiln: build ${this.#id} waits for ${this.#waitsFor}\n`;
  }

  #say(line: string): string {
    if (!this.#logBegun) return line;
    this.#later += line;
    return '';
  }

  #describe({ state, message }: Verdict): string {
    const seconds = ((performance.now() - this.#started) / 1000).toFixed(1);
    return state === 'succeeded' ? `succeeded in ${seconds} s` : `${state} after ${seconds} s: ${message}`;
  }
}
