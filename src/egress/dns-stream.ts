import type { Duplex } from 'node:stream';
import type { Share } from '../lib/fair-share.ts';
import { waitWhileThere } from './wait-while-there.ts';

/** The way a question came: over UDP, where an answer may have to be cut, or TCP. */
export type Transport = 'u' | 't';

/** @returns null where there is nothing to say */
export type AnswerDns = (message: Buffer, transport: Transport) => Promise<Buffer | null>;

/** Number of the question, transport, length of the message. */
const headerBytes = 4 + 1 + 2;
/**
 * Answers the questions of a guest on one stream, in any order. A frame, either way: number (uint32, big-endian; an answer has
 * that of its question), `u` or `t`, length (uint16, big-endian), DNS message. Never rejects; a stream that breaks this is cut.
 * @param options.questions Each holds one of its permits until it is answered, also when its stream has gone: it has descriptors of
 *   this process for as long.
 */
export async function serveDns(
  stream: Duplex,
  { questions, answer }: { readonly questions: Share; readonly answer: AnswerDns },
): Promise<void> {
  // One for each answer that is being sent.
  stream.setMaxListeners(0);
  try {
    for await (const frame of readFrames(stream)) {
      const permit = await waitWhileThere(questions, stream);
      if (!permit) return;
      void answerFrame(frame, stream, answer).finally(() => permit[Symbol.dispose]());
    }
  } catch {
    // The guest has gone, or spoke something else.
  } finally {
    stream.destroy();
  }
}

type Frame = { readonly number: number; readonly transport: Transport; readonly message: Buffer };

async function answerFrame(
  { number, transport, message }: Frame,
  stream: Duplex,
  answer: AnswerDns,
): Promise<void> {
  const answered = await answer(message, transport);
  if (!answered || !stream.writable) return;
  const header = Buffer.alloc(headerBytes);
  header.writeUInt32BE(number);
  header.write(transport, 4, 'latin1');
  header.writeUInt16BE(answered.length, 5);
  // Waits until it is taken, so that a guest that takes nothing has its few questions and no more.
  await new Promise<void>((resolve) => {
    stream.once('close', resolve);
    stream.write(Buffer.concat([header, answered]), () => {
      stream.off('close', resolve);
      resolve();
    });
  });
}

async function* readFrames(stream: Duplex): AsyncGenerator<Frame> {
  let rest = Buffer.alloc(0);
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    rest = Buffer.concat([rest, chunk]);
    let at = 0;
    while (rest.length - at >= headerBytes) {
      const transport = rest.toString('latin1', at + 4, at + 5);
      if (transport !== 'u' && transport !== 't') throw new Error('This is no frame.');
      const end = at + headerBytes + rest.readUInt16BE(at + 5);
      if (rest.length < end) break;
      yield { number: rest.readUInt32BE(at), transport, message: rest.subarray(at + headerBytes, end) };
      at = end;
    }
    rest = rest.subarray(at);
  }
}
