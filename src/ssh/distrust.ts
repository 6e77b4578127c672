import type { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import type { Client, ClientChannel } from 'ssh2';
import { acceptWithWindow, resetOnDestroy } from './channel-window.ts';

/** Of a command's channel: an honest guest keeps to the window, which ssh2 opens to 4 MiB at most but does not enforce. */
const maxUnreadBytes = 8 * 1024 * 1024;

/** Channels of the guest's that are open at once; further ones wait, and beyond that are refused. */
const maxForwarded = 4096;
const maxWaiting = 16_384;
/**
 * What a guest may send on a channel that nobody reads yet: much while there are few, so that one is fast, and little while
 * there are many. All together are then at most 79 MiB, and nothing that keeps to its window is ever cut.
 */
const wideWindow = { channels: 64, bytes: 256 * 1024 };
const narrowWindowBytes = 16 * 1024;

/** While this much waits for the guest to take it, channels wait too. */
const enoughUnsentBytes = 4 * 1024 * 1024;
/** Far more than that can become of it: each channel adds one chunk at a time. */
const maxUnsentBytes = 64 * 1024 * 1024;

/**
 * A connection to a guest, which is hostile: it dies at once when either side wants its end, whether the guest agrees or
 * not, and when the guest does not take what it asked for.
 */
export function distrust(socket: Socket): Socket {
  // One for each channel that waits.
  socket.setMaxListeners(0);
  const write = socket.write.bind(socket);
  const uncork = (): void => socket.uncork();
  return Object.assign(socket, {
    // ssh2 says goodbye and waits: a guest that never closes its side would keep the connection, and its VM.
    end: () => socket.destroy(),
    write: (...args: Parameters<typeof write>) => {
      if (socket.writableLength > maxUnsentBytes) socket.destroy(new Error('it takes nothing it asked for'));
      // ssh2 writes each of its packets in three pieces, which leave together: each by itself would be a segment to the guest.
      if (socket.writableCorked === 0) {
        socket.cork();
        process.nextTick(uncork);
      }
      return write(...args);
    },
  });
}

/**
 * What a guest may make us hold, over all channels of its connection: what it sent and nobody read, and what it is to get and
 * does not take. ssh2 itself would hold 2 MiB of each for every channel.
 */
export class ChannelBudget {
  readonly #socket: Socket;
  readonly #waiting: (() => void)[] = [];
  #forwarded = 0;

  constructor(socket: Socket) {
    this.#socket = socket;
    // Nothing is opened any more on a connection that is gone.
    socket.once('close', () => this.#waiting.splice(0));
  }

  /** A channel of ours, for a command: what it says is read as it comes. */
  bound(channel: ClientChannel): ClientChannel {
    this.#boundReceived(channel, maxUnreadBytes);
    this.#boundSent(channel);
    return channel;
  }

  /** Lets the guest open a channel as soon as there is room for one more. `open` must take it with `boundForwarded`. */
  admit(open: () => void, refuse: () => void): void {
    if (this.#forwarded < maxForwarded) open();
    else if (this.#waiting.length < maxWaiting) this.#waiting.push(open);
    else refuse();
  }

  /** A channel that the guest opened, to somewhere that may be slow. Destroying it is a reset, and lets go of all it holds. */
  boundForwarded(client: Client, accept: () => ClientChannel): ClientChannel {
    this.#forwarded += 1;
    const { channels, bytes } = wideWindow;
    const windowBytes = this.#forwarded <= channels ? bytes : narrowWindowBytes;
    const channel = acceptWithWindow(client, accept, windowBytes);
    channel.once('close', () => {
      this.#forwarded -= 1;
      this.#waiting.shift()?.();
    });
    // Twice the window: who reads may put back what it has read, when that is granted anew already.
    this.#boundReceived(channel, 2 * windowBytes);
    this.#boundSent(channel);
    // Nothing that is forwarded has one; what a guest sends there anyway is dropped.
    channel.stderr.resume();
    return resetOnDestroy(channel);
  }

  /** Ends the connection when the guest sends on a channel what the protocol does not let it: ssh2 would keep it, or crash of it. */
  #boundReceived(channel: ClientChannel, maxBytes: number): void {
    for (const stream of [channel, channel.stderr] as Readable[]) {
      // Also those after its end, which nobody else listens to.
      stream.on('error', (error: Error) => this.#socket.destroy(error));
      const push = stream.push.bind(stream);
      stream.push = (chunk: unknown, encoding?: BufferEncoding) => {
        if (stream.readableLength > maxBytes) {
          this.#socket.destroy(new Error('it sent more than it may'));
          return false;
        }
        return push(chunk, encoding);
      };
    }
  }

  /** A guest that takes nothing makes its channels wait, each with what it was given last. */
  #boundSent(channel: ClientChannel): void {
    const socket = this.#socket;
    const write = channel._write.bind(channel);
    channel._write = (chunk, encoding, done) => {
      if (socket.writableLength < enoughUnsentBytes) write(chunk, encoding, done);
      else socket.once('drain', () => channel._write(chunk, encoding, done));
    };
  }
}
