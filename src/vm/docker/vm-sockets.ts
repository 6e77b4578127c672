import type { Server, Socket } from 'node:net';
import { join } from 'node:path';
import { raceAbort } from '../../lib/abort.ts';
import { listenForQemu } from '../folder-socket.ts';
import type { ProcessUser } from '../launcher.ts';

/** What a container of the pool connects to, in its VM's folder (images/dqd/pool.pl). Closing it ends the VM. */
export type VmSockets = AsyncDisposable & {
  /** QEMU's monitor, once it is there. */
  monitor(signal: AbortSignal): Promise<Socket>;
  /** Connects to a port on the loopback of the container. */
  dial(port: number, signal: AbortSignal): Promise<Socket>;
};

/** An honest container has one connection waiting. */
const maxWaiting = 4;

export async function listenForVm(
  { directory, user }: { directory: string; user: ProcessUser },
  signal: AbortSignal,
): Promise<VmSockets> {
  await using undo = new AsyncDisposableStack();
  const open = async (name: string): Promise<Arrivals> => {
    const listening = undo.use(await listenForQemu({ path: join(directory, name), user }, signal));
    const arrivals = new Arrivals(listening.server);
    // Before the server, which ends when the last connection has.
    undo.defer(() => arrivals.close());
    return arrivals;
  };
  const [monitor, door] = [await open('monitor'), await open('door')];
  const resources = undo.move();
  return {
    monitor: (linked) => monitor.take(linked),
    async dial(port, linked) {
      const socket = await door.take(linked);
      socket.write(`${port}\n`);
      return socket;
    },
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

/** Connections that wait to be taken, and takers that wait for one. */
class Arrivals {
  readonly #waiting: Socket[] = [];
  readonly #takers: ((socket: Socket) => void)[] = [];
  readonly #open = new Set<Socket>();

  constructor(server: Server) {
    server.on('connection', (socket) => this.#arrive(socket));
  }

  async take(signal: AbortSignal): Promise<Socket> {
    const first = this.#waiting.shift();
    if (first) return first;
    const { promise, resolve } = Promise.withResolvers<Socket>();
    this.#takers.push(resolve);
    try {
      return await raceAbort(promise, signal);
    } catch (error) {
      const at = this.#takers.indexOf(resolve);
      if (at >= 0) this.#takers.splice(at, 1);
      throw error;
    }
  }

  close(): void {
    for (const socket of this.#open) socket.destroy();
  }

  #arrive(socket: Socket): void {
    this.#open.add(socket);
    // Whoever has it sees its end.
    socket.on('error', () => undefined);
    socket.once('close', () => {
      this.#open.delete(socket);
      const at = this.#waiting.indexOf(socket);
      if (at >= 0) this.#waiting.splice(at, 1);
    });
    const taker = this.#takers.shift();
    if (taker) taker(socket);
    else if (this.#waiting.length < maxWaiting) this.#waiting.push(socket);
    else socket.destroy();
  }
}
