import { setTimeout as sleep } from 'node:timers/promises';
import { raceAbort } from '../lib/abort.ts';
import type { Logger } from '../lib/logger.ts';
import { KilnError } from '../model/error.ts';

/** What the pool needs to know of a VM. Its disposal never throws. */
export type PooledVm = AsyncDisposable & {
  readonly id: string;
  /** Resolves, never rejects, with the reason once the VM is of no use any more. */
  readonly gone: Promise<string>;
};

/** One build's exclusive right to one VM. Disposing ends both. */
export type Lease<V> = AsyncDisposable & { readonly vm: V };

export type PoolStatus = {
  readonly warm: number;
  readonly leased: number;
  readonly starting: number;
  /** Being destroyed: they still hold memory. */
  readonly ending: number;
  /** Whether VMs can be made here: the last attempt succeeded. False before the first. */
  readonly proven: boolean;
  /** Why the last attempt to make a VM failed; null after a success. */
  readonly problem: string | null;
};

type Waiter<V> = PromiseWithResolvers<Lease<V>>;

const retryDelaysMs = [100, 1000, 5000, 15_000];
/** After this many failures in a row a waiting build is told, rather than kept waiting for ever. */
const failuresUntilTold = 3;

/**
 * Warm VMs of one entry.
 *
 * INVARIANTS:
 * - A VM is in exactly one place: being made, warm, leased, or being destroyed; `max` bounds all of them together.
 * - `close` resolves when none of those that are not leased is left.
 * - A VM is handed out once. It never comes back: the end of its lease destroys it.
 * - VMs are made one at a time (several at once take as long each as all in a row) and after a build has been served.
 * - Waiting builds are served in the order they came.
 */
export class Pool<V extends PooledVm> {
  readonly #options: {
    size: number;
    max: number;
    create: (signal: AbortSignal) => Promise<V>;
    logger: Logger;
  };
  readonly #warm: V[] = [];
  readonly #waiters: Waiter<V>[] = [];
  readonly #closing = new AbortController();
  readonly #ending = new Set<Promise<void>>();
  #leased = 0;
  #starting = 0;
  #failures = 0;
  #proven = false;
  #problem: string | null = null;
  #refilling: Promise<void> | null = null;

  constructor(options: {
    size: number;
    max: number;
    create: (signal: AbortSignal) => Promise<V>;
    logger: Logger;
  }) {
    this.#options = options;
  }

  get status(): PoolStatus {
    return {
      warm: this.#warm.length,
      leased: this.#leased,
      starting: this.#starting,
      ending: this.#ending.size,
      proven: this.#proven,
      problem: this.#problem,
    };
  }

  /** Begins to make VMs, unless it is under way: at the start, and whenever one is missing. */
  refill(): void {
    this.#refilling ??= this.#fill().finally(() => {
      this.#refilling = null;
      if (this.#isShort()) this.refill();
    });
  }

  /** Resolves with a warm VM, at once or when there is one. @throws DRAINING, INFRA, the signal's reason. */
  async acquire(signal: AbortSignal): Promise<Lease<V>> {
    signal.throwIfAborted();
    if (this.#closing.signal.aborted) throw draining();
    const vm = this.#warm.shift();
    if (vm) {
      const lease = this.#lease(vm);
      this.refill();
      return lease;
    }
    const waiter: Waiter<V> = Promise.withResolvers();
    this.#waiters.push(waiter);
    this.refill();
    try {
      return await raceAbort(waiter.promise, signal);
    } catch (error) {
      this.#forget(waiter);
      throw error;
    }
  }

  /** Refuses who waits and destroys the warm VMs. */
  async close(): Promise<void> {
    this.#closing.abort(draining());
    for (const waiter of this.#waiters.splice(0)) waiter.reject(draining());
    await this.#refilling;
    for (const vm of this.#warm.splice(0)) void this.#destroy(vm);
    await Promise.all(this.#ending);
  }

  async #fill(): Promise<void> {
    while (this.#isShort()) {
      try {
        const vm = await this.#make();
        this.#failures = 0;
        this.#proven = true;
        this.#problem = null;
        this.#offer(vm);
      } catch (error) {
        if (this.#closing.signal.aborted) return;
        await this.#backOff(KilnError.from(error));
      }
    }
  }

  #isShort(): boolean {
    if (this.#closing.signal.aborted) return false;
    const missing = this.#options.size + this.#waiters.length - this.#warm.length;
    const all = this.#warm.length + this.#leased + this.#starting + this.#ending.size;
    return missing > 0 && all < this.#options.max;
  }

  async #make(): Promise<V> {
    this.#starting += 1;
    try {
      return await this.#options.create(this.#closing.signal);
    } finally {
      this.#starting -= 1;
    }
  }

  #offer(vm: V): void {
    if (this.#closing.signal.aborted) {
      void this.#destroy(vm);
      return;
    }
    const waiter = this.#waiters.shift();
    if (waiter) {
      waiter.resolve(this.#lease(vm));
      return;
    }
    this.#warm.push(vm);
    void vm.gone.then((reason) => this.#dropWarm(vm, reason));
  }

  #dropWarm(vm: V, reason: string): void {
    const index = this.#warm.indexOf(vm);
    if (index < 0) return;
    this.#warm.splice(index, 1);
    this.#options.logger.warn({ vm: vm.id, reason }, 'a warm VM went away');
    void this.#destroy(vm);
  }

  #lease(vm: V): Lease<V> {
    this.#leased += 1;
    let ended: Promise<void> | null = null;
    const end = (): Promise<void> => {
      this.#leased -= 1;
      return this.#destroy(vm);
    };
    return {
      vm,
      [Symbol.asyncDispose]: () => {
        ended ??= end();
        return ended;
      },
    };
  }

  /** Never rejects. There is room for another VM when it resolves. */
  #destroy(vm: V): Promise<void> {
    const gone = this.#dispose(vm).finally(() => {
      this.#ending.delete(gone);
      this.refill();
    });
    this.#ending.add(gone);
    return gone;
  }

  async #dispose(vm: V): Promise<void> {
    try {
      await vm[Symbol.asyncDispose]();
    } catch (error) {
      this.#options.logger.error({ vm: vm.id, error }, 'a VM was not destroyed as it should be');
    }
  }

  /** A waiter that gave up may have been served in the same moment: that VM must not be lost. */
  #forget(waiter: Waiter<V>): void {
    const index = this.#waiters.indexOf(waiter);
    if (index >= 0) this.#waiters.splice(index, 1);
    else waiter.promise.then((lease) => lease[Symbol.asyncDispose]()).catch(() => undefined);
  }

  async #backOff(error: KilnError): Promise<void> {
    this.#failures += 1;
    this.#proven = false;
    this.#problem = error.message;
    this.#options.logger.error({ error }, 'a VM could not be made');
    if (this.#failures >= failuresUntilTold) {
      for (const waiter of this.#waiters.splice(0)) waiter.reject(error);
    }
    const delay = retryDelaysMs[Math.min(this.#failures, retryDelaysMs.length) - 1];
    await sleep(delay, undefined, { signal: this.#closing.signal }).catch(() => undefined);
  }
}

function draining(): KilnError {
  return new KilnError('DRAINING', 'The service is stopping; send the build again in a moment.');
}
