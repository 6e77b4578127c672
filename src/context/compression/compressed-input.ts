const empty = Buffer.alloc(0);

/** Compressed bytes as they come, for readers that only know afterwards how much of them was theirs. */
export class CompressedInput {
  /** How many have come. */
  bytes = 0;
  readonly #source: AsyncIterator<Buffer>;
  /** Given back, and to be read again. A view: it is of the block that came last, which stays until the one after the next is asked for. */
  #ahead: Buffer = empty;

  constructor(source: AsyncIterable<Buffer>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  /** Null at the end. */
  async next(): Promise<Buffer | null> {
    if (this.#ahead.length > 0) {
      const ahead = this.#ahead;
      this.#ahead = empty;
      return ahead;
    }
    const { done, value } = await this.#source.next();
    if (done) return null;
    this.bytes += value.length;
    return value;
  }

  /** Gives back the end of what was read last. */
  unread(bytes: Buffer): void {
    this.#ahead = bytes;
  }

  /** The next bytes, `length` of them where there are as many; they are still to be read. */
  async peek(length: number): Promise<Buffer> {
    let bytes = (await this.next()) ?? empty;
    while (bytes.length < length) {
      const more = await this.next();
      if (!more) break;
      bytes = Buffer.concat([bytes, more]);
    }
    this.#ahead = bytes;
    return bytes.subarray(0, length);
  }

  /** The next bytes, fewer only at the end. */
  async take(length: number): Promise<Buffer> {
    const bytes = Buffer.from(await this.peek(length));
    this.#ahead = this.#ahead.subarray(bytes.length);
    return bytes;
  }

  /** All that comes. Whoever stops reading leaves the rest to others. */
  async *rest(): AsyncGenerator<Buffer> {
    for (let chunk = await this.next(); chunk; chunk = await this.next()) yield chunk;
  }
}
