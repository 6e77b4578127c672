/** Rejects with the signal's own reason once it aborts; resolves as `promise` otherwise. Leaves no listener behind. */
export async function raceAbort<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  // Whoever loses the race must not count as an unhandled rejection.
  promise.catch(() => undefined);
  signal.throwIfAborted();
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

/** Runs `work` with a signal that also aborts, with `reason()`, after `ms` milliseconds. */
export async function withDeadline<T>(
  options: { ms: number; signal: AbortSignal; reason: () => Error },
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(options.reason()), options.ms);
  const linked = AbortSignal.any([options.signal, controller.signal]);
  try {
    return await raceAbort(work(linked), linked);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * A time limit whose clock starts later than the work it ends, at the first call of `start`. One of `Infinity` ms ends nothing.
 */
export class TimeLimit implements Disposable {
  readonly #options: { readonly ms: number; readonly reason: () => Error };
  readonly #controller = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  #started: number | null = null;

  constructor(options: { ms: number; reason: () => Error }) {
    this.#options = options;
  }

  /** Since its start, whatever becomes of the clock on the wall; 0 before. */
  get usedMs(): number {
    return this.#started === null ? 0 : performance.now() - this.#started;
  }

  /** Aborts with `reason()` when the time is up. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  start(): void {
    const { ms, reason } = this.#options;
    this.#started ??= performance.now();
    if (Number.isFinite(ms)) this.#timer ??= setTimeout(() => this.#controller.abort(reason()), ms);
  }

  /** All of the time is there again. */
  restart(): void {
    this.#timer?.refresh();
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }
}
