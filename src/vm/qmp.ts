import type { Readable, Writable } from 'node:stream';
import { z } from 'zod';
import { withDeadline } from '../lib/abort.ts';
import { splitLines } from '../lib/lines.ts';
import { KilnError } from '../model/error.ts';

/** QEMU answers every command we send within milliseconds; one that takes this long is frozen. */
const commandDeadlineMs = 20_000;
/** The longest answer to what we ask has some KiB. A QEMU that its guest has taken over may send anything. */
const maxLineBytes = 1024 * 1024;

const replySchema = z.object({
  return: z.unknown().optional(),
  error: z.object({ desc: z.string() }).optional(),
});
type Reply = z.infer<typeof replySchema>;

/**
 * Client of the QEMU Machine Protocol over a pair of pipes (`-chardev stdio`): no socket in the file system, and
 * the monitor is gone with either process. https://www.qemu.org/docs/master/interop/qmp-spec.html
 *
 * Commands are answered in order. Once the stream ends every open and later command rejects.
 */
export class QmpClient {
  readonly #commands: Writable;
  readonly #waiting: PromiseWithResolvers<Reply>[] = [];
  readonly #greeting = Promise.withResolvers<Reply>();
  readonly #broken = Promise.withResolvers<void>();
  #ended = false;
  #fault: string | null = null;

  constructor(commands: Writable, replies: Readable) {
    this.#commands = commands;
    this.#waiting.push(this.#greeting);
    // A write into a pipe whose reader died: the end of `replies` tells the callers.
    commands.on('error', () => undefined);
    this.#greeting.promise.catch(() => undefined);
    void this.#read(replies);
  }

  /** Resolves when what QEMU sends is no monitor's any more; at its proper end never. */
  get broken(): Promise<void> {
    return this.#broken.promise;
  }

  /** What was wrong once it is broken, else null. */
  get fault(): string | null {
    return this.#fault;
  }

  /** Ends the negotiation phase; must be the first call. */
  async negotiate(signal: AbortSignal): Promise<void> {
    await this.#answer(this.#greeting.promise, 'greeting', signal);
    await this.execute('qmp_capabilities', {}, signal);
  }

  /** @throws KilnError INFRA when QEMU refuses, is gone, or does not answer in time. */
  async execute(command: string, args: object, signal: AbortSignal): Promise<unknown> {
    if (this.#ended) throw gone(command);
    const reply = Promise.withResolvers<Reply>();
    this.#waiting.push(reply);
    this.#commands.write(`${JSON.stringify({ execute: command, arguments: args })}\n`);
    return this.#answer(reply.promise, command, signal);
  }

  /** Runs a command of the human monitor; for the few things QMP itself does not offer. */
  async executeHuman(commandLine: string, signal: AbortSignal): Promise<string> {
    const text = await this.execute('human-monitor-command', { 'command-line': commandLine }, signal);
    return String(text);
  }

  async #answer(reply: Promise<Reply>, command: string, signal: AbortSignal): Promise<unknown> {
    const reason = (): Error =>
      new KilnError('INFRA', `QEMU did not answer ${command} within ${commandDeadlineMs} ms.`);
    const { error, return: value } = await withDeadline(
      { ms: commandDeadlineMs, signal, reason },
      () => reply,
    );
    if (error) throw new KilnError('INFRA', `QEMU refused ${command}: ${error.desc}`);
    return value;
  }

  async #read(replies: Readable): Promise<void> {
    try {
      for await (const line of splitLines(replies, maxLineBytes)) this.#receive(line.toString('utf8'));
    } catch (error) {
      this.#fault = error instanceof Error ? error.message : String(error);
      this.#broken.resolve();
    }
    this.#end();
  }

  #receive(line: string): void {
    const message = parseObject(line);
    // Events are asynchronous and not needed: QEMU's exit is seen on the process itself.
    if (!('QMP' in message || 'return' in message || 'error' in message)) return;
    const reply = replySchema.safeParse(message);
    if (reply.success) this.#waiting.shift()?.resolve(reply.data);
  }

  #end(): void {
    this.#ended = true;
    for (const reply of this.#waiting.splice(0)) {
      reply.promise.catch(() => undefined);
      reply.reject(gone('the command'));
    }
  }
}

function parseObject(line: string): object {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null ? value : {};
  } catch {
    return {};
  }
}

function gone(command: string): KilnError {
  return new KilnError('INFRA', `QEMU went away before it answered ${command}.`);
}
