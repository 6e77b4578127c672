import { connect, type Socket } from 'node:net';
import type { EgressPolicy } from './egress-policy.ts';
import type { EgressRecord } from './egress-record.ts';
import { formatHostPort, type HostPort } from './host-port.ts';

/** What the guest is told in place of an answer. */
export type Refusal = { readonly status: number; readonly message: string };

/** A connection to where the guest wants to go, or why there is none. Never rejects. */
export type Open = (destination: HostPort) => Promise<{ readonly socket: Socket } | Refusal>;

const maxSockets = 128;
const connectDeadlineMs = 10_000;
/** However many addresses a name has. */
const allDeadlineMs = 30_000;
const idleDeadlineMs = 300_000;

/** Connections of one guest to the outside, each put on record. The signal destroys the one it was given for. */
export function createOutbound(options: {
  policy: EgressPolicy;
  record: EgressRecord;
}): (destination: HostPort, signal: AbortSignal) => ReturnType<Open> {
  let opening = 0;
  const sockets = new Set<Socket>();
  return async (destination, signal) => {
    if (opening + sockets.size >= maxSockets) {
      return { status: 503, message: `This build has ${maxSockets} connections open already.` };
    }
    opening += 1;
    try {
      const socket = await openSocket({ ...options, destination }, signal);
      if (!('write' in socket)) return socket;
      sockets.add(socket);
      socket.once('close', () => sockets.delete(socket));
      return { socket };
    } catch (error) {
      return refusalOf(destination, error);
    } finally {
      opening -= 1;
    }
  };
}

/** The guest learns whether it was too slow or not there; what exactly went wrong is in the message. */
export function refusalOf(destination: HostPort, error: unknown): Refusal {
  const status = error instanceof Error && 'code' in error && error.code === 'ETIMEDOUT' ? 504 : 502;
  const why = error instanceof Error ? error.message : 'it failed';
  return { status, message: `The connection to ${formatHostPort(destination)}: ${why}.` };
}

async function openSocket(
  { policy, record, destination }: { policy: EgressPolicy; record: EgressRecord; destination: HostPort },
  signal: AbortSignal,
): Promise<Socket | Refusal> {
  const decision = await policy(destination, signal);
  if (!decision.allowed) {
    record.add({ ...destination, address: null, allowed: false });
    return decision;
  }
  const { addresses, port } = decision;
  const deadline = performance.now() + allDeadlineMs;
  let failure: unknown = timedOut();
  for (const address of addresses) {
    const ms = Math.min(connectDeadlineMs, deadline - performance.now());
    if (ms <= 0) break;
    try {
      const socket = await connectTo({ host: address, port }, ms, signal);
      record.add({ ...destination, address, allowed: true });
      return socket;
    } catch (error) {
      failure = error;
    }
  }
  record.add({ ...destination, address: null, allowed: true });
  throw failure;
}

/** The socket is destroyed by the signal for as long as it lives, and never lacks a listener for its errors. */
function connectTo({ host, port }: HostPort, ms: number, signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, signal, allowHalfOpen: true });
    socket.setTimeout(ms, () => socket.destroy(timedOut()));
    socket.once('connect', () => {
      socket.setTimeout(idleDeadlineMs);
      resolve(socket);
    });
    socket.on('error', reject);
  });
}

function timedOut(): Error {
  return Object.assign(new Error('it timed out'), { code: 'ETIMEDOUT' });
}
