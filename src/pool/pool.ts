import { setTimeout as sleep } from 'node:timers/promises';
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
  readonly create: (signal: AbortSignal) => Promise<FrozenPooledVm<V>>;
  readonly owner: PoolOwner;
  readonly logger: Logger;
};

/** Whoever decides what the pool makes. Neither may throw. */
export type PoolOwner = {
  /** A VM came, or went, or may be asked for again. */
  changed(): void;
  /** VMs cannot be made, and have not been for some attempts in a row. */
  failed(error: KilnError): void;
};

const retryDelaysMs = [100, 1000, 5000, 15_000];
/** After this many failures in a row a waiting build is told, rather than kept waiting for ever. */
const failuresUntilTold = 3;

/**
 * The VMs of one entry. It makes what it is asked for and hands out what it has: how many there are is its owner's to decide.
 *
 * INVARIANTS:
 * - A VM is in exactly one place: being made or woken, frozen, warm, leased, or being destroyed.
 * - A VM is handed out once. It never comes back: the end of its lease destroys it.
 * - VMs are made and woken one at a time: several at once take as long each as all in a row.
 * - `close` resolves when none of those that are not leased is left.
 */
export class Pool<V extends PooledVm> {
  readonly #options: PoolOptions<V>;
  readonly #frozen: FrozenPooledVm<V>[] = [];
  readonly #warm: V[] = [];
  readonly #closing = new AbortController();
  readonly #ending = new Set<Promise<void>>();
  /** How often what VMs are made from was changed. */
  #generation = 0;
  #leased = 0;
  #starting = 0;
  #failures = 0;
  #proven = false;
  #problem: string | null = null;
  #making: Promise<void> | null = null;

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

  /** Whether it makes a VM, or rests after it could not. */
  get busy(): boolean {
    return this.#making !== null || this.#closing.signal.aborted;
  }

  /** A warm VM, where there is one. */
  take(): Lease<V> | null {
    const vm = this.#warm.shift();
    return vm ? this.#lease(vm) : null;
  }

  /** Begins to make a VM; a warm one is a frozen one that wakes, where there is one. Does nothing while it is `busy`. */
  make(kind: 'warm' | 'frozen'): void {
    if (this.busy) return;
    this.#making = this.#make(kind).finally(() => {
      this.#making = null;
      this.#options.owner.changed();
    });
  }

  /** Destroys a VM that nobody has, where there is one: a frozen one before a warm one. */
  evict(): void {
    const vm = this.#frozen.shift() ?? this.#warm.shift();
    if (vm) void this.#destroy(vm);
  }

  /** VMs are made from something else from now on: those that nobody has are destroyed, those that are being made when they are there. */
  renew(): void {
    this.#generation += 1;
    for (const vm of [...this.#warm.splice(0), ...this.#frozen.splice(0)]) void this.#destroy(vm);
  }

  /** Destroys all VMs that nobody has, and makes no more. */
  async close(): Promise<void> {
    this.#closing.abort(new KilnError('DRAINING', 'The service is stopping.'));
    await this.#making;
    for (const vm of [...this.#warm.splice(0), ...this.#frozen.splice(0)]) void this.#destroy(vm);
    await Promise.all(this.#ending);
  }

  /** Never rejects. */
  async #make(kind: 'warm' | 'frozen'): Promise<void> {
    const generation = this.#generation;
    try {
      if (kind === 'warm') this.#offer(await this.#start(() => this.#warmUp()), generation);
      else this.#keep(await this.#start(() => this.#options.create(this.#closing.signal)), generation);
    } catch (error) {
      if (!this.#closing.signal.aborted) await this.#backOff(KilnError.from(error));
    }
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

  #offer(vm: V, generation: number): void {
    this.#failures = 0;
    this.#proven = true;
    this.#problem = null;
    this.#shelve(this.#warm, vm, generation);
  }

  /** Says nothing of whether VMs work: it has not run. */
  #keep(vm: FrozenPooledVm<V>, generation: number): void {
    this.#shelve(this.#frozen, vm, generation);
  }

  #shelve<T extends PooledVm>(shelf: T[], vm: T, generation: number): void {
    if (this.#closing.signal.aborted || generation !== this.#generation) {
      void this.#destroy(vm);
      return;
    }
    shelf.push(vm);
    void vm.gone.then((reason) => this.#drop(shelf, vm, reason));
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
      this.#options.owner.changed();
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

  async #backOff(error: KilnError): Promise<void> {
    this.#failures += 1;
    this.#proven = false;
    this.#problem = error.message;
    this.#options.logger.error({ error }, 'a VM could not be made');
    if (this.#failures >= failuresUntilTold) this.#options.owner.failed(error);
    const delay = retryDelaysMs[Math.min(this.#failures, retryDelaysMs.length) - 1];
    await sleep(delay, undefined, { signal: this.#closing.signal }).catch(() => undefined);
  }
}
