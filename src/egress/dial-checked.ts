import type { Socket } from 'node:net';
import { printable } from '../lib/text.ts';
import type { EgressPolicy } from './egress-policy.ts';
import { dial } from './outbound.ts';

/** Connects kiln itself to what a build named: where the build may not go, kiln does not go for it. @throws Error that says why not */
export type DialChecked = (
  target: { readonly host: string; readonly port: number },
  signal: AbortSignal,
) => Promise<Socket>;

export function createCheckedDial(policy: EgressPolicy): DialChecked {
  return async ({ host, port }, signal) => {
    const decision = await policy({ host, port }, signal);
    if (!decision.allowed)
      throw new Error(`${printable(host)}:${port} is not open to builds (${decision.reason})`);
    const { socket } = await dial({ addresses: decision.addresses, port: decision.port ?? port }, signal);
    return socket;
  };
}
