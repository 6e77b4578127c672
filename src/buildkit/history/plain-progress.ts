import type { KeptBytes } from './kept-bytes.ts';
import { maxSteps } from './received.ts';
import type { Item, SolveStatus, Vertex } from './solve-status.ts';
import { maxNameBytes, type StepNumbers } from './step-numbers.ts';

/** Names and errors are written up to here: a name is written at each change of steps, and the guest decides how many there are. */
const maxTextBytes = maxNameBytes;
/** A log is put into lines in parts of this size. */
const maxPartBytes = 64 * 1024;

type Progress = Pick<Vertex, 'started' | 'completed' | 'cached'> & { readonly error: string };
type Step = { number: number; readonly name: string; progress: Progress; lineOpen: boolean };

/**
 * Writes progress as `buildctl build --progress=plain` does (util/progress/progressui/printer.go of v0.20.2): a step's number
 * and name, then what it says, each line with the step's number. Its text is bytes, one a character (latin1): what a step prints
 * is in no encoding that anyone knows.
 */
export class PlainProgress {
  readonly #numbers: StepNumbers;
  readonly #steps = new Map<string, Step>();
  readonly #kept: KeptBytes;
  #current: Step | null = null;

  constructor(numbers: StepNumbers, kept: KeptBytes) {
    this.#numbers = numbers;
    this.#kept = kept;
  }

  /** Names and times of steps: they come before what the steps say. A step for which there is no room is not written. */
  learn({ vertexes }: SolveStatus): void {
    for (const vertex of vertexes) {
      const known = this.#steps.get(vertex.digest);
      const progress = progressOf(vertex);
      if (known) {
        const { length } = progress.error;
        if (vertex.started !== undefined && (length === 0 || this.#kept.take(length)))
          known.progress = progress;
        continue;
      }
      const name = cut(vertex.name ?? '');
      const { length } = vertex.digest + name + progress.error;
      if (this.#steps.size < maxSteps && this.#kept.take(length))
        this.#steps.set(vertex.digest, { number: 0, name, progress, lineOpen: false });
    }
  }

  /**
   * What is to be written, in parts: whoever takes them can stop.
   * @param begun The beginnings of lines that go on here, by step: such a line is written whole.
   */
  *write(
    { vertexes, statuses, warnings, logs }: SolveStatus,
    begun: ReadonlyMap<string, Buffer>,
  ): Generator<string> {
    for (const item of statuses)
      yield this.#in(item.vertex, (step) => `${endLine(step)}#${step.number} ${raw(describe(item))}\n`);
    const open = new Map(begun);
    for (const { vertex, data, timestamp } of logs) {
      const bytes = (open.get(vertex)?.toString('latin1') ?? '') + decode(data ?? '');
      open.delete(vertex);
      for (let at = 0; at < bytes.length; at += maxPartBytes)
        yield this.#in(vertex, (step) => lines(step, bytes.slice(at, at + maxPartBytes), timestamp));
    }
    for (const { vertex, short } of warnings)
      yield this.#in(vertex, (step) => `${endLine(step)}#${step.number} WARN: ${decode(short ?? '')}\n`);
    // A step that says nothing more is left at once, with how it ended.
    for (const { digest } of vertexes) yield this.#in(digest, () => '');
  }

  end(): string {
    const text = this.#leave();
    this.#current = null;
    return text;
  }

  #in(digest: string, say: (step: Step) => string): string {
    const step = this.#steps.get(digest);
    if (!step) return '';
    if (step === this.#current) return say(step);
    const left = this.#leave();
    step.number ||= this.#numbers.of(step.name);
    this.#current = step;
    return `${left}\n#${step.number} ${step.name}\n${say(step)}`;
  }

  #leave(): string {
    const step = this.#current;
    if (!step) return '';
    return `${endLine(step)}#${step.number} ${step.progress.completed === undefined ? '...' : ending(step.progress)}\n`;
  }
}

function lines(step: Step, bytes: string, timestamp: string): string {
  const prefix = `#${step.number} ${age(step.progress.started, timestamp)} `;
  const [first = '', ...rest] = bytes.split('\n');
  const last = rest.pop();
  const begun = step.lineOpen || (first === '' && last === undefined) ? first : prefix + first;
  // What follows the last newline is no line yet where it is nothing.
  const open = last === undefined || last === '' ? (last ?? '') : prefix + last;
  step.lineOpen = last === undefined ? step.lineOpen || first !== '' : last !== '';
  return [begun, ...rest.map((line) => prefix + line), ...(last === undefined ? [] : [open])].join('\n');
}

/** Only what is written later: a vertex may hold anything beside it. */
function progressOf({ started, completed, cached, error = '' }: Vertex): Progress {
  return { started, completed, cached, error: cut(error) };
}

/** As bytes; a text that is cut ends with an ellipsis, and so is longer than any name that has a number. */
function cut(text: string): string {
  const bytes = Buffer.from(text);
  return bytes.length > maxTextBytes
    ? `${bytes.toString('latin1', 0, maxTextBytes)}${raw('\u2026')}`
    : bytes.toString('latin1');
}

function endLine(step: Step): string {
  const end = step.lineOpen ? '\n' : '';
  step.lineOpen = false;
  return end;
}

function raw(text: string): string {
  return Buffer.from(text).toString('latin1');
}

function decode(base64: string): string {
  return Buffer.from(base64, 'base64').toString('latin1');
}

function ending({ error, cached = false, started, completed }: Progress): string {
  if (error.endsWith('context canceled')) return 'CANCELED';
  if (error !== '') return `ERROR: ${error}`;
  if (cached) return 'CACHED';
  return started === undefined || completed === undefined
    ? 'DONE'
    : `DONE ${between(started, completed).toFixed(1)}s`;
}

function describe({ id, current = 0, total = 0, started, completed }: Item): string {
  const size = total > 0 ? ` ${bytes(current)} / ${bytes(total)}` : current > 0 ? ` ${bytes(current)}` : '';
  const seconds = started === undefined || completed === undefined ? 0 : between(started, completed);
  return `${id}${size}${seconds > 0.01 ? ` ${seconds.toFixed(1)}s` : ''} done`;
}

function age(started: string | undefined, at: string): string {
  const seconds = started === undefined ? 0 : between(started, at);
  return seconds.toFixed(seconds < 10 ? 3 : seconds < 100 ? 2 : 1);
}

/** Seconds. */
function between(from: string, to: string): number {
  return (Date.parse(to) - Date.parse(from)) / 1000;
}

const units = ['B', 'kB', 'MB', 'GB', 'TB'];

function bytes(count: number): string {
  const power = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(1, count)) / 3));
  return `${power === 0 ? count : (count / 1000 ** power).toFixed(2)}${units[power]}`;
}
