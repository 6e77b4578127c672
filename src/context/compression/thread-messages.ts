/** What the thread asks of whoever started it, each answered before the next, and the processor's time that it has taken so far. */
export type FromThread = Request & { readonly cpuMs: number };

export type Request =
  | { readonly type: 'read' }
  | { readonly type: 'output'; readonly bytes: Uint8Array }
  /** With what was read and is not part of the compressed data. */
  | { readonly type: 'end'; readonly rest: Uint8Array }
  | { readonly type: 'refused'; readonly reason: Refusal; readonly detail: string };

export type Refusal = 'truncated' | 'damaged' | 'memory' | 'streams';

/** An answer: bytes that were asked for, null at their end or where none were. */
export type ToThread = Uint8Array | null;

export type ThreadData = {
  readonly name: 'xz' | 'bzip2';
  /** Counts the answers, so that the thread can wait for one. */
  readonly answers: Int32Array<SharedArrayBuffer>;
  /** More than this a stream may not ask for. */
  readonly maxMemoryBytes: number;
  /** Behind one another. */
  readonly maxStreams: number;
};

/** What went wrong with the data, for whoever sent it. */
export class RefusedData extends Error {
  readonly reason: Refusal;

  constructor(reason: Refusal, message: string) {
    super(message);
    this.reason = reason;
  }
}
