import type { FrozenPooledVm, PooledVm } from '../../src/pool/pool.ts';

/** Simulated frozen VMs: what `create` makes is asleep until it is woken. */
export function asleep<V extends PooledVm>(
  create: (signal: AbortSignal) => Promise<V>,
): (signal: AbortSignal) => Promise<FrozenPooledVm<V>> {
  return async (signal) => {
    const vm = await create(signal);
    const { id, gone } = vm;
    return { id, gone, wake: async () => vm, [Symbol.asyncDispose]: () => vm[Symbol.asyncDispose]() };
  };
}
