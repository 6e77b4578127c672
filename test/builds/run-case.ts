import type { BuildRecord } from '../../src/model/build.ts';
import type { BuildSpecInput } from '../../src/model/spec.ts';
import type { Guest } from './simulated-vms.ts';

type Reach = { cancel(): void; stop(): void };

/** A build, and what comes of it. */
export type Case = {
  readonly title: string;
  /** What each VM's guest does. */
  readonly guests: readonly ((guest: Guest, reach: Reach) => void | Promise<void>)[];
  readonly spec?: BuildSpecInput;
  /** What happens before it has a VM. */
  readonly waiting?: (reach: Reach) => void;
  readonly expected: {
    readonly state: BuildRecord['state'];
    readonly code?: string | null;
    readonly vms: number;
    readonly artifact?: boolean;
    readonly warnings?: number;
    readonly lostHistory?: boolean;
    readonly egress?: readonly string[];
    /** Whether it goes on after the next start. */
    readonly paused?: boolean;
    /** Of each attempt. */
    readonly logs?: readonly string[];
  };
};
