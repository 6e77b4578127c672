import { connect, type Socket } from 'node:net';
import type { ClientChannel } from 'ssh2';

/** An honest guest keeps to the window, which ssh2 opens to 4 MiB at most but does not enforce. */
const maxUnreadBytes = 8 * 1024 * 1024;
/** What may wait for the guest to take it: ssh2 writes whatever the windows of all channels allow, 128 times 2 MiB. */
const maxUnsentBytes = 300 * 1024 * 1024;

/**
 * A TCP connection to a guest, which is hostile: it dies at once when either side wants its end, whether the guest agrees or
 * not, and when the guest does not take what it asked for.
 */
export function connectToGuest(port: number): Socket {
  const socket = connect({ host: '127.0.0.1', port });
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

/** Ends the connection when the guest sends on a channel what the protocol does not let it: ssh2 would keep it, or crash of it. */
export function boundChannel(channel: ClientChannel, socket: Socket): ClientChannel {
  for (const stream of [channel, channel.stderr]) {
    // Also those after its end, which nobody else listens to.
    stream.on('error', (error: Error) => socket.destroy(error));
    const push = stream.push.bind(stream);
    stream.push = (chunk: unknown, encoding?: BufferEncoding) => {
      if (stream.readableLength > maxUnreadBytes) {
        socket.destroy(new Error('it sent more than it may'));
        return false;
      }
      return push(chunk, encoding);
    };
  }
  return channel;
}
