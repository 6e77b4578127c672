import { z } from 'zod';
import { KilnError } from '../../model/error.ts';
import type { FormSearch } from './form-search.ts';
import { MaskStream } from './mask-stream.ts';

/** Outputs of steps that may hold something back at once; no BuildKit runs so many steps. */
const maxStreams = 4096;

const logSchema = z.looseObject({
  vertex: z.string(),
  stream: z.number().optional(),
  data: z.base64(),
});
const vertexSchema = z.object({ digest: z.string(), completed: z.string() });
type Log = z.infer<typeof logSchema>;

/** Masks BuildKit's statuses: every text in them, and the output of each step across all statuses that it comes in. */
export class MaskStatus {
  readonly #search: FormSearch;
  readonly #streams = new Map<string, { readonly of: Log; readonly stream: MaskStream }>();

  constructor(search: FormSearch) {
    this.#search = search;
  }

  /** @throws KilnError INFRA for what no BuildKit sends */
  push(status: unknown): unknown {
    if (typeof status !== 'object' || status === null || Array.isArray(status)) return this.#maskAll(status);
    const { logs = [], ...rest } = status as Record<string, unknown>;
    if (!Array.isArray(logs)) return this.#maskAll(status);
    const masked = logs.flatMap((log) => this.#maskLog(log));
    const all = [...masked, ...this.#endOf(Object(rest)['vertexes'])];
    return { ...(this.#maskAll(rest) as object), ...(all.length > 0 && { logs: all }) };
  }

  /** What is held of all steps, as one status; null where there is nothing. */
  end(): object | null {
    const logs = [...this.#streams.keys()].flatMap((key) => this.#finish(key));
    return logs.length === 0 ? null : { logs };
  }

  #maskLog(given: unknown): unknown[] {
    const { data: log } = logSchema.safeParse(given);
    if (!log) return [this.#maskAll(given)];
    const key = `${log.vertex} ${log.stream ?? ''}`;
    const { stream } = this.#streams.get(key) ?? { stream: new MaskStream(this.#search) };
    const data = stream.push(Buffer.from(log.data, 'base64'));
    if (stream.isIdle) this.#streams.delete(key);
    else this.#streams.set(key, { of: log, stream });
    if (this.#streams.size > maxStreams)
      throw new KilnError('INFRA', 'The guest sent output of more steps at once than any BuildKit runs.');
    return data.length === 0 ? [] : [{ ...log, data: data.toString('base64') }];
  }

  /** A step that has ended prints no more. */
  #endOf(vertexes: unknown): unknown[] {
    if (this.#streams.size === 0 || !Array.isArray(vertexes)) return [];
    const ended = new Set(vertexes.flatMap((vertex) => vertexSchema.safeParse(vertex).data?.digest ?? []));
    return [...this.#streams].flatMap(([key, { of }]) => (ended.has(of.vertex) ? this.#finish(key) : []));
  }

  #finish(key: string): Log[] {
    const held = this.#streams.get(key);
    this.#streams.delete(key);
    const data = held?.stream.end();
    return held && data && data.length > 0 ? [{ ...held.of, data: data.toString('base64') }] : [];
  }

  #maskAll(value: unknown): unknown {
    if (typeof value === 'string') return this.#maskText(value);
    if (Array.isArray(value)) return value.map((item) => this.#maskAll(item));
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, this.#maskAll(item)]));
  }

  /** Some texts are base64 of others, and stay so. */
  #maskText(text: string): string {
    if (text.length >= 12 && text.length % 4 === 0 && /^[A-Za-z0-9+/]+={0,2}$/.test(text)) {
      const inner = Buffer.from(text, 'base64');
      const masked = this.#maskWhole(inner);
      if (!masked.equals(inner)) return masked.toString('base64');
    }
    const bytes = Buffer.from(text);
    const masked = this.#maskWhole(bytes);
    return masked.equals(bytes) ? text : masked.toString('utf8');
  }

  #maskWhole(bytes: Buffer): Buffer {
    const stream = new MaskStream(this.#search);
    return Buffer.concat([stream.push(bytes), stream.end()]);
  }
}
