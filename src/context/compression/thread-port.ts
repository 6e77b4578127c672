import { type MessagePort, receiveMessageOnPort } from 'node:worker_threads';
import type { FromThread, Refusal, Request, ToThread } from './thread-messages.ts';

const outputBytes = 256 * 1024;

/** Input and output of a decoder in a thread. Its calls wait: these decoders know nothing of promises. */
export class ThreadPort {
  readonly #port: MessagePort;
  readonly #answers: Int32Array<SharedArrayBuffer>;
  #taken = 0;
  /** Read and not taken yet. */
  #input: Uint8Array = new Uint8Array(0);
  #output = new Uint8Array(outputBytes);
  #filled = 0;

  constructor(port: MessagePort, answers: Int32Array<SharedArrayBuffer>) {
    this.#port = port;
    this.#answers = answers;
  }

  /** What has come and was not taken, at least a byte; empty at the end. */
  peek(): Uint8Array {
    if (this.#input.length === 0) this.#input = this.#ask({ type: 'read' }) ?? this.#input;
    return this.#input;
  }

  /** The same, at least so many bytes where there are as many. */
  peekAtLeast(length: number): Uint8Array {
    while (this.peek().length < length) {
      const more = this.#ask({ type: 'read' });
      if (!more) break;
      const joined = new Uint8Array(this.#input.length + more.length);
      joined.set(this.#input);
      joined.set(more, this.#input.length);
      this.#input = joined;
    }
    return this.#input;
  }

  take(bytes: number): void {
    this.#input = this.#input.subarray(bytes);
  }

  writeByte(byte: number): void {
    this.#output[this.#filled] = byte;
    this.#filled += 1;
    if (this.#filled === outputBytes) this.#flush();
  }

  write(bytes: Uint8Array): void {
    for (let start = 0; start < bytes.length; ) {
      const part = bytes.subarray(start, start + outputBytes - this.#filled);
      this.#output.set(part, this.#filled);
      this.#filled += part.length;
      start += part.length;
      if (this.#filled === outputBytes) this.#flush();
    }
  }

  end(): void {
    this.#flush();
    this.#post({ type: 'end', rest: this.#input.slice() });
  }

  refuse(reason: Refusal, detail: string): void {
    this.#post({ type: 'refused', reason, detail });
  }

  #flush(): void {
    if (this.#filled === 0) return;
    // A copy, so that the same memory serves all output.
    this.#ask({ type: 'output', bytes: this.#output.slice(0, this.#filled) });
    this.#filled = 0;
  }

  #ask(request: Request): ToThread {
    this.#post(request);
    Atomics.wait(this.#answers, 0, this.#taken);
    this.#taken += 1;
    const received: { message: ToThread } | undefined = receiveMessageOnPort(this.#port);
    if (!received) throw new Error('An answer was counted and did not come.');
    return received.message;
  }

  #post(request: Request): void {
    const { user, system } = process.threadCpuUsage();
    const message: FromThread = { ...request, cpuMs: (user + system) / 1000 };
    this.#port.postMessage(message);
  }
}
