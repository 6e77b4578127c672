import type { Client, ClientChannel } from 'ssh2';

/** What ssh2 1.17.0 keeps of a channel (lib/Channel.js), and what it sends with. */
type Internals = {
  readonly incoming: { window: number };
  readonly outgoing: { readonly id: number; readonly state: string };
  readonly _readableState: { highWaterMark: number };
};
type Protocol = {
  channelOpenConfirm(recipient: number, sender: number, window: number, packetBytes: number): void;
  channelWindowAdjust(recipient: number, bytes: number): void;
};

/**
 * Accepts a channel with a window of its own size; ssh2 gives each 2 MiB. What was granted and what is unread are together
 * never more than `windowBytes`, for a peer that keeps to it.
 */
export function acceptWithWindow(
  client: Client,
  accept: () => ClientChannel,
  windowBytes: number,
): ClientChannel {
  const { _protocol: protocol } = client as unknown as { _protocol: Protocol };
  const confirm = protocol.channelOpenConfirm;
  protocol.channelOpenConfirm = (recipient, sender, _window, packetBytes) =>
    confirm.call(protocol, recipient, sender, windowBytes, packetBytes);
  const channel = acceptThen(accept, () => {
    protocol.channelOpenConfirm = confirm;
  });
  const { incoming, outgoing, _readableState: state } = channel as unknown as Internals;
  incoming.window = windowBytes;
  state.highWaterMark = windowBytes;
  const grant = (): void => {
    const bytes = windowBytes - incoming.window - channel.readableLength;
    // In large steps, but for a peer that may send nothing: it would wait for ever.
    const due = incoming.window <= 0 ? bytes > 0 : bytes >= windowBytes / 2;
    if (!due || outgoing.state === 'closed') return;
    incoming.window += bytes;
    protocol.channelWindowAdjust(outgoing.id, bytes);
  };
  // Each time when something was taken: `_read` is called before that.
  channel._read = () => undefined;
  const read = channel.read.bind(channel);
  channel.read = (bytes?: number) => {
    const taken: unknown = read(bytes);
    grant();
    return taken;
  };
  const push = channel.push.bind(channel);
  channel.push = (chunk: unknown, encoding?: BufferEncoding) => {
    push(chunk, encoding);
    grant();
    // Otherwise ssh2 would open the window by itself.
    return false;
  };
  return channel;
}

function acceptThen(accept: () => ClientChannel, after: () => void): ClientChannel {
  try {
    return accept();
  } finally {
    after();
  }
}

/** Makes destroying a channel what it is for a socket: a reset, after which nothing is held, and what still comes is dropped. */
export function resetOnDestroy(channel: ClientChannel): ClientChannel {
  let destroyed = false;
  channel.destroy = () => {
    if (destroyed) return channel;
    destroyed = true;
    const push = channel.push.bind(channel);
    // Its end still counts: ssh2 keeps a channel until that was read.
    channel.push = (chunk: unknown) => (chunk === null ? push(null) : false);
    channel.unpipe().removeAllListeners('data').removeAllListeners('readable').resume();
    // Not `end`: that would tell the guest of an orderly end of the data.
    channel.close();
    return channel;
  };
  return channel;
}
