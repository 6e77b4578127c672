import type { Item, SolveStatus, Vertex } from './solve-status.ts';
import type { StepNumbers } from './step-numbers.ts';

type Step = { number: number; vertex: Vertex; lineOpen: boolean };

/**
 * Writes progress as `buildctl build --progress=plain` does (util/progress/progressui/printer.go of v0.20.2): a step's number
 * and name, then what it says, each line with the step's number. Its text is bytes, one a character (latin1): what a step prints
 * is in no encoding that anyone knows.
 */
export class PlainProgress {
  readonly #numbers: StepNumbers;
  readonly #steps = new Map<string, Step>();
  #current: Step | null = null;

  constructor(numbers: StepNumbers) {
    this.#numbers = numbers;
  }

  /** Names and times of steps: they come before what the steps say. */
  learn({ vertexes }: SolveStatus): void {
    for (const vertex of vertexes) {
      const known = this.#steps.get(vertex.digest);
      if (known) {
        if (vertex.started !== undefined) known.vertex = vertex;
      } else {
        this.#steps.set(vertex.digest, { number: 0, vertex, lineOpen: false });
      }
    }
  }

  /** @param begun The beginnings of lines that go on here, by step: such a line is written whole. */
  write({ vertexes, statuses, warnings, logs }: SolveStatus, begun: ReadonlyMap<string, Buffer>): string {
    let text = '';
    for (const item of statuses)
      text += this.#in(item.vertex, (step) => `${endLine(step)}#${step.number} ${raw(describe(item))}\n`);
    const cut = new Map(begun);
    for (const { vertex, data, timestamp } of logs) {
      const bytes = (cut.get(vertex)?.toString('latin1') ?? '') + decode(data ?? '');
      cut.delete(vertex);
      text += this.#in(vertex, (step) => lines(step, bytes, timestamp));
    }
    for (const { vertex, short } of warnings)
      text += this.#in(vertex, (step) => `${endLine(step)}#${step.number} WARN: ${decode(short ?? '')}\n`);
    // A step that says nothing more is left at once, with how it ended.
    for (const { digest } of vertexes) text += this.#in(digest, () => '');
    return text;
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
    const name = raw(step.vertex.name ?? '');
    step.number ||= this.#numbers.of(name);
    this.#current = step;
    return `${left}\n#${step.number} ${name}\n${say(step)}`;
  }

  #leave(): string {
    const step = this.#current;
    if (!step) return '';
    return `${endLine(step)}#${step.number} ${step.vertex.completed === undefined ? '...' : raw(ending(step.vertex))}\n`;
  }
}

function lines(step: Step, bytes: string, timestamp: string): string {
  const prefix = `#${step.number} ${age(step.vertex.started, timestamp)} `;
  const [first = '', ...rest] = bytes.split('\n');
  const last = rest.pop();
  const begun = step.lineOpen || (first === '' && last === undefined) ? first : prefix + first;
  // What follows the last newline is no line yet where it is nothing.
  const open = last === undefined || last === '' ? (last ?? '') : prefix + last;
  step.lineOpen = last === undefined ? step.lineOpen || first !== '' : last !== '';
  return [begun, ...rest.map((line) => prefix + line), ...(last === undefined ? [] : [open])].join('\n');
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

function ending({ error = '', cached = false, started, completed }: Vertex): string {
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
