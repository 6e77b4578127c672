import { statfs } from 'node:fs/promises';
import { raceAbort } from '../lib/abort.ts';
import { KilnError } from '../model/error.ts';

/** Below this a VM could not even start a build. */
const leastBytes = 64 * 1024 * 1024;
const watchMs = 250;

/** Room on the disk that is kept for one user of it, until disposed. */
export type Room = Disposable & {
  /** How much it may use: what was asked for, or less where it is alone on a small disk. */
  readonly bytes: number;
  /** Aborts with DISK_FULL when more is used than `bytes`. */
  readonly exceeded: AbortSignal;
  /** From now on `used()` tells how many bytes of it are on the disk already. */
  count(used: () => Promise<number>): void;
};

type Claim = { bytes: number; used: () => Promise<number> };
type Waiter = { readonly bytes: number; readonly granted: PromiseWithResolvers<Room>; asked: boolean };

/**
 * Shares out a disk among those who fill it, in the order they came: what is free, less what stays free for others, less what
 * is promised and not used yet. Who does not fit waits until another is done. Alone, one always fits: on a disk that is too
 * small for what it asks, it gets all there is.
 */
export class DiskBudget {
  readonly #directory: string;
  readonly #keepFreeBytes: number;
  readonly #makeRoom: () => Promise<unknown>;
  readonly #claims = new Set<Claim>();
  readonly #waiters: Waiter[] = [];
  #granting = Promise.resolve();

  /** @param options.makeRoom Asked once for each who does not fit, before that one waits or is refused. */
  constructor(options: { directory: string; keepFreeBytes: number; makeRoom?: () => Promise<unknown> }) {
    this.#directory = options.directory;
    this.#keepFreeBytes = options.keepFreeBytes;
    this.#makeRoom = options.makeRoom ?? (async () => undefined);
  }

  /** Bytes that nobody uses and nobody was promised; below 0 where more is used than should be. */
  async available(): Promise<number> {
    const { bavail, bsize } = await statfs(this.#directory);
    const promised = await Promise.all([...this.#claims].map(unused));
    return promised.reduce((free, bytes) => free - bytes, bavail * bsize - this.#keepFreeBytes);
  }

  /** Resolves once there is room. @throws KilnError STORAGE_FULL where there is none for anyone; the signal's reason. */
  async reserve(bytes: number, signal: AbortSignal): Promise<Room> {
    signal.throwIfAborted();
    const waiter: Waiter = { bytes, granted: Promise.withResolvers(), asked: false };
    this.#waiters.push(waiter);
    this.#grant();
    try {
      return await raceAbort(waiter.granted.promise, signal);
    } catch (error) {
      this.#leave(waiter);
      throw error;
    }
  }

  /** One after the other: two must not be given the same room. */
  #grant(): void {
    this.#granting = this.#granting.then(() => this.#grantAll());
  }

  async #grantAll(): Promise<void> {
    for (;;) {
      const [first] = this.#waiters;
      if (!first) return;
      try {
        const available = await this.available();
        if (this.#waiters[0] !== first) continue;
        if (first.bytes > available && !first.asked) {
          first.asked = true;
          // What it cannot do is seen by looking again.
          await this.#makeRoom().catch(() => undefined);
          continue;
        }
        const alone = this.#claims.size === 0;
        if (first.bytes > available && !alone) return;
        this.#waiters.shift();
        if (available < Math.min(leastBytes, first.bytes)) throw diskFull();
        first.granted.resolve(this.#claim(first.bytes, Math.min(first.bytes, available)));
      } catch (error) {
        if (this.#waiters[0] === first) this.#waiters.shift();
        first.granted.reject(error);
      }
    }
  }

  #claim(asked: number, bytes: number): Room {
    const claim: Claim = { bytes, used: async () => 0 };
    const exceeded = new AbortController();
    this.#claims.add(claim);
    // What was given in full is bounded by the size of what it was asked for.
    const timer = bytes < asked ? setInterval(() => void watch(claim, exceeded), watchMs) : undefined;
    return {
      bytes,
      exceeded: exceeded.signal,
      count: (used) => {
        claim.used = used;
      },
      [Symbol.dispose]: () => {
        clearInterval(timer);
        this.#claims.delete(claim);
        this.#grant();
      },
    };
  }

  /** Who gave up may have been given room in the same moment. */
  #leave(waiter: Waiter): void {
    const index = this.#waiters.indexOf(waiter);
    if (index >= 0) this.#waiters.splice(index, 1);
    else waiter.granted.promise.then((room) => room[Symbol.dispose]()).catch(() => undefined);
    this.#grant();
  }
}

/** What an operator must know of a disk without room for so many at once that use `bytes` each; null where there is room. */
export async function describeSmallDisk(
  budget: DiskBudget,
  { builds, bytes }: { builds: number; bytes: number },
): Promise<string | null> {
  const available = Math.max(0, await budget.available());
  const atOnce = Math.floor(available / bytes);
  if (atOnce >= builds) return null;
  const gibibytes = (value: number): string => `${(value / 1024 ** 3).toFixed(1)} GiB`;
  return atOnce >= 1
    ? `Builds may write ${gibibytes(bytes)} each; the disk has room for ${atOnce} at once that do: further ones wait.`
    : `The disk has room for ${gibibytes(available)} of the ${gibibytes(bytes)} that a build may write: such builds run one at a time, each with what there is.`;
}

async function unused({ bytes, used }: Claim): Promise<number> {
  return Math.max(0, bytes - (await used()));
}

async function watch({ bytes, used }: Claim, exceeded: AbortController): Promise<void> {
  const now = await used();
  if (now <= bytes) return;
  const message = `The build wrote ${now} bytes in its VM; the disk of the build service has room for ${bytes}.`;
  exceeded.abort(new KilnError('DISK_FULL', message, { details: { limit: bytes } }));
}

function diskFull(): KilnError {
  return new KilnError('STORAGE_FULL', 'The disk of the build service is full; try again later.');
}
