import { connect, type Socket } from 'node:net';

const connectDeadlineMs = 10_000;
/** However many addresses a name has. */
const allDeadlineMs = 30_000;
/** Finds out that the other side has vanished; a connection that only rests may rest. */
const keepAliveMs = 60_000;

/** A connection, and the address it goes to. */
export type Dialled = { readonly socket: Socket; readonly address: string };

/**
 * Connects to the first of the addresses that answers. The signal destroys the socket for as long as it lives; it never lacks a
 * listener for its errors.
 * @throws Error of the last address, with its `code`, such as ECONNREFUSED
 */
export async function dial(
  { addresses, port }: { readonly addresses: readonly string[]; readonly port: number },
  signal: AbortSignal,
): Promise<Dialled> {
  const deadline = performance.now() + allDeadlineMs;
  let failure: unknown = timedOut();
  for (const address of addresses) {
    const ms = Math.min(connectDeadlineMs, deadline - performance.now());
    if (ms <= 0) break;
    try {
      return { socket: await connectTo({ host: address, port }, ms, signal), address };
    } catch (error) {
      failure = error;
    }
  }
  throw failure;
}

function connectTo(
  { host, port }: { host: string; port: number },
  ms: number,
  signal: AbortSignal,
): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const options = {
      allowHalfOpen: true,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: keepAliveMs,
    };
    const socket = connect({ host, port, signal, ...options });
    socket.setTimeout(ms, () => socket.destroy(timedOut()));
    socket.once('connect', () => {
      socket.setTimeout(0).removeAllListeners('timeout');
      resolve(socket);
    });
    socket.on('error', reject);
  });
}

function timedOut(): Error {
  return Object.assign(new Error('it timed out'), { code: 'ETIMEDOUT' });
}
