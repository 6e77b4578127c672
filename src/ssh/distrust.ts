import { connect, type Socket } from 'node:net';
import type { Readable } from 'node:stream';
import type { ClientChannel } from 'ssh2';

/** Of one channel: an honest guest keeps to the window, which ssh2 opens to 4 MiB at most but does not enforce. */
const maxUnreadBytes = 8 * 1024 * 1024;
/** Of all channels together. */
const maxUnreadInAll = 64 * 1024 * 1024;
/** A channel with less than this is never the one that is too much. */
const smallUnreadBytes = 256 * 1024;

/** While this much waits for the guest to take it, channels wait too. */
const enoughUnsentBytes = 4 * 1024 * 1024;
/** Far more than that can become of it: each channel adds one chunk at a time. */
const maxUnsentBytes = 64 * 1024 * 1024;

/**
 * A TCP connection to a guest, which is hostile: it dies at once when either side wants its end, whether the guest agrees or
 * not, and when the guest does not take what it asked for.
 */
export function connectToGuest(port: number): Socket {
  const socket = connect({ host: '127.0.0.1', port });
  // One for each channel that waits.
  socket.setMaxListeners(0);
  const write = socket.write.bind(socket);
  return Object.assign(socket, {
    // ssh2 says goodbye and waits: a guest that never closes its side would keep the connection, and its VM.
    end: () => socket.destroy(),
    write: (...args: Parameters<typeof write>) => {
      if (socket.writableLength > maxUnsentBytes) socket.destroy(new Error('it takes nothing it asked for'));
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
  readonly #forwarded = new Set<ClientChannel>();

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  /** A channel of ours, for a command: what it says is read as it comes. */
  bound(channel: ClientChannel): ClientChannel {
    this.#boundReceived(channel);
    this.#boundSent(channel);
    return channel;
  }

  /** A channel that the guest opened, to somewhere that may be slow. The one that holds most is cut when all hold too much. */
  boundForwarded(channel: ClientChannel): ClientChannel {
    this.#forwarded.add(channel);
    channel.once('close', () => this.#forwarded.delete(channel));
    return this.bound(channel);
  }

  /** Ends the connection when the guest sends on a channel what the protocol does not let it: ssh2 would keep it, or crash of it. */
  #boundReceived(channel: ClientChannel): void {
    for (const stream of [channel, channel.stderr] as Readable[]) {
      // Also those after its end, which nobody else listens to.
      stream.on('error', (error: Error) => this.#socket.destroy(error));
      const push = stream.push.bind(stream);
      stream.push = (chunk: unknown, encoding?: BufferEncoding) => {
        if (stream.readableLength > maxUnreadBytes) {
          this.#socket.destroy(new Error('it sent more than it may'));
          return false;
        }
        const more = push(chunk, encoding);
        if (stream.readableLength > smallUnreadBytes) this.#cutGreediest();
        return more;
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

  #cutGreediest(): void {
    let unread = 0;
    let greediest: ClientChannel | null = null;
    for (const channel of this.#forwarded) {
      unread += channel.readableLength;
      if (!greediest || channel.readableLength > greediest.readableLength) greediest = channel;
    }
    if (unread <= maxUnreadInAll || !greediest) return;
    this.#forwarded.delete(greediest);
    drop(greediest);
  }
}

/** Closes a channel and lets go of what it holds, and of what still comes. */
function drop(channel: ClientChannel): void {
  channel.push = () => false;
  channel.unpipe().removeAllListeners('data').resume();
  channel.destroy();
}
