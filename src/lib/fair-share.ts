import type { Permit } from './semaphore.ts';
import { waitIn } from './wait-in.ts';

/** One member's part in a `FairShare`. Disposed once the member is gone; what it still holds comes back by itself. */
export type Share = Disposable & {
  /** @throws the reason of the signal, which ends the wait; no permit is taken then. After disposal, an Error */
  acquire(signal?: AbortSignal): Promise<Permit>;
};

export type FairShareOptions = {
  /** Permits in all. */
  readonly size: number;
  /** How many members have a part of their own. One more than that lives of what is common until one of them is gone. */
  readonly members: number;
  /** Permits that one member may hold. */
  readonly maxEach: number;
};

/**
 * A bounded number of permits for several members. Half of them belong to the members, to each as many, so that nobody can take
 * them from another; the other half is anyone's, and goes to whoever has least of those that wait.
 */
export class FairShare {
  readonly #maxEach: number;
  readonly #ownEach: number;
  /** Parts of members that are not there. */
  #places: number;
  #common: number;
  readonly #members = new Set<Member>();

  constructor({ size, members, maxEach }: FairShareOptions) {
    this.#maxEach = maxEach;
    // With less than two for each, one is its own all the same: somebody with nothing could be starved.
    this.#ownEach = Math.min(
      maxEach,
      Math.floor(size / members),
      Math.max(1, Math.floor(size / 2 / members)),
    );
    this.#places = members;
    this.#common = size - members * this.#ownEach;
  }

  join(): Share {
    const member: Member = { own: 0, placed: false, held: 0, waiting: new Set(), left: false };
    this.#members.add(member);
    this.#givePlaces();
    return {
      acquire: (signal) => this.#acquire(member, signal),
      [Symbol.dispose]: () => {
        member.left = true;
        this.#leaveIfDone(member);
      },
    };
  }

  async #acquire(member: Member, signal: AbortSignal | undefined): Promise<Permit> {
    signal?.throwIfAborted();
    if (member.left) throw new Error('This member has left.');
    if (!this.#take(member)) await waitIn(member.waiting, signal);
    let given = true;
    return {
      [Symbol.dispose]: () => {
        if (!given) return;
        given = false;
        this.#release(member);
      },
    };
  }

  #take(member: Member): boolean {
    if (member.held >= this.#maxEach) return false;
    if (member.held >= member.own) {
      if (this.#common === 0) return false;
      this.#common -= 1;
    }
    member.held += 1;
    return true;
  }

  #release(member: Member): void {
    member.held -= 1;
    if (member.held >= member.own) this.#common += 1;
    this.#leaveIfDone(member);
    this.#letIn();
  }

  #letIn(): void {
    for (let next = this.#next(); next; next = this.#next()) {
      const [enter] = next.waiting;
      enter?.();
    }
  }

  /** Who has least of those that wait and may have one more; it has it then. */
  #next(): Member | undefined {
    return [...this.#members]
      .filter(({ waiting }) => waiting.size > 0)
      .sort((a, b) => a.held - b.held)
      .find((member) => this.#take(member));
  }

  /** Its part is another's only when it holds nothing of it any more. */
  #leaveIfDone(member: Member): void {
    if (!member.left || member.held > 0 || !this.#members.delete(member) || !member.placed) return;
    this.#places += 1;
    this.#givePlaces();
    this.#letIn();
  }

  /** To those that have none, in the order they came. What they hold of the common half is counted as their own then. */
  #givePlaces(): void {
    for (const member of this.#members) {
      if (this.#places === 0) return;
      if (member.placed || member.left) continue;
      this.#places -= 1;
      member.placed = true;
      member.own = this.#ownEach;
      this.#common += Math.min(member.held, member.own);
    }
  }
}

type Member = {
  /** How many of its permits nobody else may have. */
  own: number;
  /** It has a part of its own. */
  placed: boolean;
  held: number;
  /** A set keeps the order, and lets anyone leave the line. */
  readonly waiting: Set<() => void>;
  left: boolean;
};
