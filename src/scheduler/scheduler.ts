import type { Logger } from '../lib/logger.ts';
import type { KilnError } from '../model/error.ts';
import { type FrozenPooledVm, type Lease, Pool, type PooledVm, type PoolStatus } from '../pool/pool.ts';
import { type Kind, Line, type Waits } from './line.ts';
import { fullForTenant, fullLine, stopping } from './refusals.ts';
import type { VmRequest } from './vm-request.ts';

/** What is kept ready of an entry. */
export type Kept = {
  /** Warm VMs. */
  readonly warm: number;
  /** Frozen VMs behind them, where the bound of all VMs leaves room. */
  readonly frozen: number;
};

export type SchedulerOptions<V extends PooledVm> = {
  readonly create: (entry: string, signal: AbortSignal) => Promise<FrozenPooledVm<V>>;
  /** By entry, the most important first. Of others a VM is made when a build asks for one. */
  readonly kept: ReadonlyMap<string, Kept>;
  /** VMs of all entries and of all kinds at once. */
  readonly max: number;
  /** How many builds may wait for a VM to become free; the next is refused. */
  readonly limit: number;
  /** How many of them may be of one tenant; all where it is not set. */
  readonly tenantLimit?: number | undefined;
  /** A VM went to one who waited for it so long, in seconds. It must not throw. */
  readonly onLease?: (entry: string, waitedSeconds: number) => void;
  readonly logger: Logger;
};

/** A VM that ought to be made, or room that ought to be there. */
type Want<V extends PooledVm> = {
  /** Null where only room is wanted. */
  readonly pool: Pool<V> | null;
  readonly kind: 'warm' | 'frozen';
  /** For a build that waits, and not only to be kept. */
  readonly urgent: boolean;
};

const nothing: Kept = { warm: 0, frozen: 0 };

/**
 * The one line in which builds wait for a VM, and the one place that decides which VM is made next.
 *
 * INVARIANTS:
 * - There are at most `max` VMs, whatever they do; room that somebody has counts as a VM.
 * - A VM that becomes free, or is made, goes to the first in line who waits for one of its entry; tenants are served by turns.
 * - Room for a VM goes to the first in line, whatever its entry; only then to what is kept, and frozen VMs come last. Where there is no room,
 *   VMs that nobody has make it: those of entries that nobody waits for.
 */
export class Scheduler<V extends PooledVm> {
  readonly #options: SchedulerOptions<V>;
  readonly #pools = new Map<string, Pool<V>>();
  readonly #line: Line;
  /** Given for VMs beside the pools. */
  readonly #rooms = new Set<Disposable>();
  #refusal: KilnError | null = null;
  #closed = false;
  #due = false;

  constructor(options: SchedulerOptions<V>) {
    this.#options = options;
    this.#line = new Line(() => this.#decideSoon());
    for (const entry of options.kept.keys()) this.#pool(entry);
  }

  /** Builds that wait until a VM becomes free; not those whose VM is being made. */
  get waiting(): number {
    return Math.max(0, this.#line.length - this.#free);
  }

  /** By entry: those that are kept, and those a build has asked for. */
  get status(): ReadonlyMap<string, PoolStatus> {
    return new Map([...this.#pools].map(([entry, pool]) => [entry, pool.status]));
  }

  /** By entry, as `status`: all who are in line, those whose VM is being made among them. */
  get waits(): ReadonlyMap<string, Waits> {
    return new Map([...this.#pools.keys()].map((entry) => [entry, this.#line.waitsFor(entry)]));
  }

  /** Begins to make what is kept. */
  start(): void {
    this.#decideSoon();
  }

  /**
   * Resolves with a warm VM, as soon as there is one. What makes waiting pointless is thrown at once and not later.
   * @throws KilnError NO_CAPACITY when the line is full, DRAINING when it is closed; later what kept a VM from being made, the signal's reason
   */
  enter(request: VmRequest): Promise<Lease<V>> {
    request.signal.throwIfAborted();
    this.refuseIfFull(request.tenant);
    return this.#wait(request, false);
  }

  /** Another VM, for a build that lost the one it had: before all others, and also while newcomers are refused. */
  enterAgain(request: VmRequest): Promise<Lease<V>> {
    request.signal.throwIfAborted();
    if (this.#closed && this.#refusal) throw this.#refusal;
    return this.#wait(request, true);
  }

  /**
   * For a build that was in line when an earlier run of the service ended: it is not refused now, however long the line is.
   * @throws KilnError as `enter`, but for NO_CAPACITY
   */
  enterAsBefore(request: VmRequest): Promise<Lease<V>> {
    request.signal.throwIfAborted();
    if (this.#refusal) throw this.#refusal;
    return this.#wait(request, false);
  }

  /**
   * Room for a VM that is made beside the pools, such as one of an image that does not serve yet: it waits its turn among the builds, however
   * long the line is, and is given back when the VM is gone.
   * @throws KilnError DRAINING; the signal's reason
   */
  async takeRoom({ signal, onPlace }: Pick<VmRequest, 'signal' | 'onPlace'>): Promise<Disposable> {
    signal.throwIfAborted();
    if (this.#refusal) throw this.#refusal;
    const served = this.#line.enter({
      ...{ kind: null, tenant: null, signal, onPlace },
      take: (ahead) => this.#giveRoom(ahead),
    });
    this.#decide();
    return served;
  }

  /** VMs of this entry are made from another image from now on: nobody gets one of the old. */
  renew(entry: string): void {
    this.#pools.get(entry)?.renew();
  }

  /** For whoever would do work before entering in vain. @throws KilnError NO_CAPACITY, DRAINING */
  refuseIfFull(tenant: string): void {
    if (this.#refusal) throw this.#refusal;
    if (this.#line.length < this.#free) return;
    if (this.waiting >= this.#options.limit) throw fullLine(this.waiting);
    const own = this.#line.lengthOf(tenant);
    if (own >= (this.#options.tenantLimit ?? Number.POSITIVE_INFINITY)) throw fullForTenant(own);
  }

  /** Refuses newcomers, and sends away whoever waits. */
  refuseAll(): void {
    this.#refusal = stopping();
    this.#line.refuse(this.#refusal);
  }

  /** Refuses all, and destroys the VMs that nobody has. */
  async close(): Promise<void> {
    this.refuseAll();
    this.#closed = true;
    await Promise.all([...this.#pools.values()].map((pool) => pool.close()));
  }

  async #wait({ entry, tenant, signal, onPlace }: VmRequest, first: boolean): Promise<Lease<V>> {
    const since = performance.now();
    this.#pool(entry);
    const take = (): Lease<V> | null => this.#pool(entry).take();
    const served = this.#line.enter({ ...{ kind: entry, tenant, take }, signal, onPlace, first });
    this.#decide();
    const lease = await served;
    this.#options.onLease?.(entry, (performance.now() - since) / 1000);
    return lease;
  }

  /** How many of the line get a VM without waiting for a build to end. */
  get #free(): number {
    return this.#options.max - this.#rooms.size - this.#sum(({ leased }) => leased);
  }

  /** For how many further VMs there is room. */
  get #room(): number {
    const all = this.#sum(
      ({ warm, frozen, leased, starting, ending }) => warm + frozen + leased + starting + ending,
    );
    return this.#options.max - this.#rooms.size - all;
  }

  /** Only what those in front leave, whose VMs are still to be made. */
  #giveRoom(ahead: readonly Kind[]): Disposable | null {
    let needed = 0;
    for (const [entry, waiters] of Map.groupBy(ahead, (kind) => kind)) {
      const { starting, frozen } = entry === null ? { starting: 0, frozen: 0 } : this.#pool(entry).status;
      needed += Math.max(0, waiters.length - starting - frozen);
    }
    if (this.#room <= needed) return null;
    const room = { [Symbol.dispose]: () => void (this.#rooms.delete(room) && this.#decideSoon()) };
    this.#rooms.add(room);
    return room;
  }

  #sum(count: (status: PoolStatus) => number): number {
    let sum = 0;
    for (const { status } of this.#pools.values()) sum += count(status);
    return sum;
  }

  #pool(entry: string): Pool<V> {
    const there = this.#pools.get(entry);
    if (there) return there;
    const { create, logger } = this.#options;
    const pool = new Pool<V>({
      create: (signal) => create(entry, signal),
      owner: {
        changed: () => this.#decideSoon(),
        failed: (error) => this.#line.refuse(error, entry),
      },
      logger,
    });
    this.#pools.set(entry, pool);
    return pool;
  }

  /** Once for all that happens in one turn of the event loop. */
  #decideSoon(): void {
    if (this.#due) return;
    this.#due = true;
    queueMicrotask(() => {
      this.#due = false;
      this.#decide();
    });
  }

  #decide(): void {
    this.#line.serve();
    const wants = this.#wants();
    // Room that comes in a moment is some want's already.
    let coming = this.#sum(({ ending }) => ending);
    for (const want of wants) {
      if (want.pool && this.#mayMake(want, want.pool)) want.pool.make(want.kind);
      else if (coming > 0) coming -= 1;
      else this.#makeRoom(want);
    }
    this.#line.announce(this.#free);
  }

  /** What is missing, the most pressing first; of each pool at most one, as it makes one at a time. */
  #wants(): Want<V>[] {
    const wants: Want<V>[] = [];
    const add = (pool: Pool<V>, kind: Want<V>['kind'], urgent: boolean): void => {
      if (!pool.busy && !wants.some((want) => want.pool === pool)) wants.push({ pool, kind, urgent });
    };
    for (const entry of this.#line.kinds()) {
      if (entry === null) wants.push({ pool: null, kind: 'warm', urgent: true });
      else add(this.#pool(entry), 'warm', true);
    }
    for (const [entry, kept] of this.#options.kept) {
      const pool = this.#pool(entry);
      if (pool.status.warm < kept.warm) add(pool, 'warm', false);
    }
    for (const [entry, kept] of this.#options.kept) {
      const pool = this.#pool(entry);
      if (pool.status.frozen < kept.frozen) add(pool, 'frozen', false);
    }
    return wants;
  }

  #mayMake({ kind, urgent }: Want<V>, pool: Pool<V>): boolean {
    // A frozen one that wakes is no further VM.
    if (kind === 'warm' && pool.status.frozen > 0) return true;
    const room = this.#room;
    if (urgent) return room > 0;
    // A pool makes one VM at a time, so that what is more pressing may have to come later; it finds its room all the same.
    const starting = this.#sum((status) => status.starting);
    const lineNeeds = Math.max(0, this.#line.length - starting);
    return room > lineNeeds + (kind === 'frozen' ? this.#missingWarm : 0);
  }

  get #missingWarm(): number {
    let missing = 0;
    for (const [entry, kept] of this.#options.kept) {
      const { warm, starting } = this.#pool(entry).status;
      missing += Math.max(0, kept.warm - warm - starting);
    }
    return missing;
  }

  /** Ends a VM that nobody has, of an entry that nobody waits for; for what is only to be kept none that is kept itself. */
  #makeRoom({ pool, kind, urgent }: Want<V>): void {
    if (kind === 'frozen') return;
    const awaited = new Set(this.#line.kinds());
    const idle = [...this.#pools]
      .filter(([entry, other]) => other !== pool && !awaited.has(entry))
      .map(([entry, other]) => ({ other, spare: this.#spare(entry, other) }))
      .filter(({ other, spare }) => spare > 0 || (urgent && other.status.warm + other.status.frozen > 0));
    const [most] = idle.toSorted((a, b) => b.spare - a.spare);
    most?.other.evict();
  }

  /** How many VMs of an entry nobody has, beyond what is kept of it. */
  #spare(entry: string, { status }: Pool<V>): number {
    const { warm, frozen } = this.#options.kept.get(entry) ?? nothing;
    return status.warm + status.frozen - warm - frozen;
  }
}
