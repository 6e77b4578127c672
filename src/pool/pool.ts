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

/** A VM that was made and does not run yet. It wakes once; its waking, failed too, and its disposal end it as what it is. */
export type FrozenPooledVm<V> = PooledVm & {
  /** Rejects when the VM is of no use; it is destroyed then. */
  wake(signal: AbortSignal): Promise<V>;
};

/** One build's exclusive right to one VM. Disposing ends both. */
export type Lease<V> = AsyncDisposable & { readonly vm: V };

export type PoolStatus = {
  readonly warm: number;
  /** Made and not running yet: they wake when a warm one is taken. */
  readonly frozen: number;
  readonly leased: number;
  readonly starting: number;
  /** Being destroyed: they still hold memory. */
  readonly ending: number;
  /** Whether VMs can be made here: the last attempt succeeded. False before the first. */
  readonly proven: boolean;
  /** Why the last attempt to make a VM failed; null after a success. */
  readonly problem: string | null;
};

export type PoolOptions<V extends PooledVm> = {
  /** Warm VMs that are kept. */
  readonly size: number;
  /** Frozen VMs that are kept behind them, where `max` leaves room. */
  readonly frozen: number;
  /** VMs of all kinds at once. */
  readonly max: number;
  readonly create: (signal: AbortSignal) => Promise<FrozenPooledVm<V>>;
  readonly logger: Logger;
};

type Waiter<V> = PromiseWithResolvers<Lease<V>>;

const retryDelaysMs = [100, 1000, 5000, 15_000];
/** After this many failures in a row a waiting build is told, rather than kept waiting for ever. */
const failuresUntilTold = 3;

/**
 * Warm VMs of one entry.
 *
 * INVARIANTS:
 * - A VM is in exactly one place: being made or woken, frozen, warm, leased, or being destroyed; `max` bounds all of them together.
 * - `close` resolves when none of those that are not leased is left.
 * - A VM is handed out once. It never comes back: the end of its lease destroys it.
 * - VMs are made and woken one at a time (several at once take as long each as all in a row) and after a build has been served. Warm ones
 *   come first: no VM is frozen while a warm one is missing.
 * - Waiting builds are served in the order they came.
 */
export class Pool<V extends PooledVm> {
  readonly #options: PoolOptions<V>;
  readonly #frozen: FrozenPooledVm<V>[] = [];
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

  constructor(options: PoolOptions<V>) {
    this.#options = options;
  }

  get status(): PoolStatus {
    return {
      warm: this.#warm.length,
      frozen: this.#frozen.length,
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
      if (this.#lacks() !== null) this.refill();
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
    for (const vm of [...this.#warm.splice(0), ...this.#frozen.splice(0)]) void this.#destroy(vm);
    await Promise.all(this.#ending);
  }

  async #fill(): Promise<void> {
    for (let lack = this.#lacks(); lack !== null; lack = this.#lacks()) {
      try {
        if (lack === 'warm') this.#offer(await this.#start(() => this.#warmUp()));
        else this.#keep(await this.#start(() => this.#options.create(this.#closing.signal)));
      } catch (error) {
        if (this.#closing.signal.aborted) return;
        await this.#backOff(KilnError.from(error));
      }
    }
  }

  /** What is to be made next. */
  #lacks(): 'warm' | 'frozen' | null {
    if (this.#closing.signal.aborted) return null;
    const { size, frozen, max } = this.#options;
    const waiting = this.#frozen.length;
    const all = this.#warm.length + waiting + this.#leased + this.#starting + this.#ending.size;
    if (size + this.#waiters.length > this.#warm.length) return waiting > 0 || all < max ? 'warm' : null;
    return frozen > waiting && all < max ? 'frozen' : null;
  }

  async #warmUp(): Promise<V> {
    const { signal } = this.#closing;
    const frozen = this.#frozen.shift() ?? (await this.#options.create(signal));
    return frozen.wake(signal);
  }

  async #start<T>(make: () => Promise<T>): Promise<T> {
    this.#starting += 1;
    try {
      return await make();
    } finally {
      this.#starting -= 1;
    }
  }

  /** Says nothing of whether VMs work: it has not run. */
  #keep(vm: FrozenPooledVm<V>): void {
    if (this.#closing.signal.aborted) {
      void this.#destroy(vm);
      return;
    }
    this.#frozen.push(vm);
    void vm.gone.then((reason) => this.#drop(this.#frozen, vm, reason));
  }

  #offer(vm: V): void {
    this.#failures = 0;
    this.#proven = true;
    this.#problem = null;
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
    void vm.gone.then((reason) => this.#drop(this.#warm, vm, reason));
  }

  #drop<T extends PooledVm>(shelf: T[], vm: T, reason: string): void {
    const index = shelf.indexOf(vm);
    if (index < 0) return;
    shelf.splice(index, 1);
    this.#options.logger.warn({ vm: vm.id, reason }, 'a VM of the pool went away');
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
  #destroy(vm: PooledVm): Promise<void> {
    const gone = this.#dispose(vm).finally(() => {
      this.#ending.delete(gone);
      this.refill();
    });
    this.#ending.add(gone);
    return gone;
  }

  async #dispose(vm: PooledVm): Promise<void> {
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
