import type { Client, ClientChannel } from 'ssh2';
import { raceAbort, withDeadline } from '../lib/abort.ts';
import { printable } from '../lib/text.ts';
import { KilnError } from '../model/error.ts';
import type { ChannelBudget } from './distrust.ts';

/** A command running in the guest. Both outputs must be read, or the guest stalls. */
export type Exec = {
  readonly stdout: AsyncIterable<Buffer>;
  readonly stderr: AsyncIterable<Buffer>;
  /**
   * Exit code, once the channel is closed. Rejects with INFRA when the command ended by a signal or without saying how:
   * the end of a stream is no verdict.
   */
  readonly exitCode: Promise<number>;
};

/** A command that was started and waits for its input, which is given once. */
export type StartedCommand = {
  /** On abort the command's outputs and exit code reject with the signal's own reason, and it is killed. */
  send(input: Buffer | undefined, signal: AbortSignal): Exec;
};

const openDeadlineMs = 10_000;

export async function startCommand(
  { client, budget }: { client: Client; budget: ChannelBudget },
  command: string,
  signal: AbortSignal,
): Promise<StartedCommand> {
  const { channel, exited } = await openChannel({ client, budget }, command, signal);
  return {
    send(input, linked) {
      const exitCode = killOnAbort(exited, channel, linked);
      exitCode.catch(() => undefined);
      channel.end(input);
      return {
        stdout: readUntilAbort(channel, linked),
        stderr: readUntilAbort(channel.stderr, linked),
        exitCode,
      };
    },
  };
}

type OpenChannel = { readonly channel: ClientChannel; readonly exited: Promise<number> };

async function openChannel(
  { client, budget }: { client: Client; budget: ChannelBudget },
  command: string,
  signal: AbortSignal,
): Promise<OpenChannel> {
  const reason = (): Error =>
    new KilnError('INFRA', `The guest did not start a command within ${openDeadlineMs} ms.`);
  return withDeadline(
    { ms: openDeadlineMs, signal, reason },
    (linked) =>
      new Promise<OpenChannel>((resolve, reject) => {
        client.exec(command, (error, channel) => {
          if (error) {
            reject(refused(error));
            return;
          }
          resolve(watchChannel(channel, budget));
          // Nobody waits for it any more.
          if (linked.aborted) kill(channel);
        });
      }),
  );
}

/** At once: how a short command ended may have come together with the channel. */
function watchChannel(channel: ClientChannel, budget: ChannelBudget): OpenChannel {
  const exited = exitOf(budget.bound(channel));
  exited.catch(() => undefined);
  return { channel, exited };
}

function refused(cause: Error): KilnError {
  return new KilnError('INFRA', `The guest did not start a command: ${printable(cause.message)}`, { cause });
}

function exitOf(channel: ClientChannel): Promise<number> {
  return new Promise<number>((resolve, reject) => {
    let code: number | null = null;
    let signalName: string | undefined;
    channel.on('error', (error: Error) =>
      reject(new KilnError('INFRA', `ssh channel: ${printable(error.message)}`, { cause: error })),
    );
    channel.on('exit', (exit: number | null, name?: string) => {
      code = exit;
      signalName = name;
    });
    channel.on('close', () => {
      if (typeof code === 'number') resolve(code);
      else
        reject(
          new KilnError(
            'INFRA',
            `The guest's command ended ${signalName ? 'by a signal' : 'without an exit code'}.`,
          ),
        );
    });
  });
}

async function killOnAbort(
  exited: Promise<number>,
  channel: ClientChannel,
  signal: AbortSignal,
): Promise<number> {
  try {
    return await raceAbort(exited, signal);
  } catch (error) {
    if (signal.aborted) kill(channel);
    throw error;
  }
}

/** `Channel.destroy()` of ssh2 drops its error and would let a cancelled command look complete. */
function kill(channel: ClientChannel): void {
  channel.signal('KILL');
  channel.close();
}

async function* readUntilAbort(stream: AsyncIterable<Buffer>, signal: AbortSignal): AsyncGenerator<Buffer> {
  const iterator = stream[Symbol.asyncIterator]();
  for (;;) {
    const { done, value } = await raceAbort(iterator.next(), signal);
    if (done) return;
    yield value;
  }
}
