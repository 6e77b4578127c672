import { FairShare, type Share } from '../lib/fair-share.ts';

/** Connections that one guest may have, however few guests there are. */
const maxSocketsEach = 4096;
/** Questions of one guest that name servers are asked at once. */
const maxQuestionsEach = 256;
/** Sockets of this process for one question: two servers may be asked. */
const filesOfQuestion = 2;
/** For one connection: its own, or before that those of the question for its name. */
const filesOfSocket = 2;

/** Of a connection both ways have a chunk under way, and the kernel's smallest buffers. */
const bytesOfSocket = 128 * 1024;
/** Of this machine's memory, what all of them together may take. */
const memoryPart = 1 / 16;
const maxMemoryBytes = 1024 ** 3;

/** Open files that are for other things than the network of guests: at most half of all. */
const keptFiles = 2048;

export type EgressRoom = {
  /** Files that this process may have open: `ulimit -n`. */
  readonly openFiles: number;
  /** Of this machine. */
  readonly memoryBytes: number;
  /** Guests that there are at most at once. */
  readonly guests: number;
};

/** One guest's part of the limits. */
export type GuestLimits = { readonly sockets: Share; readonly questions: Share };

/**
 * What all guests together may use of this process: open files and memory. Who does not fit waits, with its first packet in its
 * guest; half of everything is kept for guests that have little, so that no guest can starve another.
 */
export class EgressLimits {
  readonly #sockets: FairShare;
  readonly #questions: FairShare;

  constructor(room: EgressRoom) {
    const { sockets, questions } = planEgress(room);
    const { guests } = room;
    this.#sockets = new FairShare({ size: sockets, members: guests, maxEach: maxSocketsEach });
    this.#questions = new FairShare({ size: questions, members: guests, maxEach: maxQuestionsEach });
  }

  join(): GuestLimits {
    return { sockets: this.#sockets.join(), questions: this.#questions.join() };
  }
}

/** How many connections, and how many questions to name servers, there may be at once. */
export function planEgress({ openFiles, memoryBytes, guests }: EgressRoom): {
  readonly sockets: number;
  readonly questions: number;
} {
  const files = openFiles - Math.min(keptFiles, Math.floor(openFiles / 2));
  // Questions are short: a quarter of the files is for them.
  const questions = Math.min(guests * maxQuestionsEach, Math.floor(files / 4 / filesOfQuestion));
  const held = Math.min(memoryBytes * memoryPart, maxMemoryBytes) / bytesOfSocket;
  const sockets = Math.min(
    guests * maxSocketsEach,
    (files - questions * filesOfQuestion) / filesOfSocket,
    held,
  );
  return { sockets: Math.floor(sockets), questions };
}
