import type { KeptBytes } from './history/kept-bytes.ts';
import { StepNumbers } from './history/step-numbers.ts';

/** What buildctl says first when it is told to write a trace; a user who runs the same line by hand does not see it. */
const traceNotice = /^time="[^"\n]*" level=info msg="tracing logs to [^"\n]*"\n/;
const maxNoticeBytes = 1024;

/** buildctl's last words when it stops reading progress three seconds after the build's end, however it ended (moby/buildkit#6940). */
export const givingUp = Buffer.from(
  'error: failed to receive status: rpc error: code = Canceled desc = context canceled\n',
);

export type CopiedLog = {
  /** Whether buildctl's last words were `givingUp`; they are not copied. */
  readonly gaveUp: boolean;
  /** Whether what was copied ends with a line. */
  readonly lineEnded: boolean;
  readonly numbers: StepNumbers;
};

/** Passes buildctl's progress on as it comes, without its notice of the trace. */
export async function copyLog(
  stderr: AsyncIterable<Buffer>,
  kept: KeptBytes,
  onLog: (bytes: Buffer) => Promise<void>,
): Promise<CopiedLog> {
  const numbers = new StepNumbers(kept);
  let held: Buffer = Buffer.alloc(0);
  let lineEnded = true;
  const pass = async (bytes: Buffer): Promise<void> => {
    if (bytes.length === 0) return;
    numbers.add(bytes);
    lineEnded = bytes.at(-1) === 0x0a;
    await onLog(bytes);
  };
  for await (const bytes of withoutNotice(stderr)) {
    const all = held.length === 0 ? bytes : Buffer.concat([held, bytes]);
    const keep = beginsAtEnd(all);
    held = Buffer.from(all.subarray(all.length - keep));
    await pass(all.subarray(0, all.length - keep));
  }
  const gaveUp = held.equals(givingUp);
  if (!gaveUp) await pass(held);
  return { gaveUp, lineEnded, numbers };
}

/** How many of the last bytes may be the beginning of `givingUp`, or all of it. */
function beginsAtEnd(bytes: Buffer): number {
  const most = Math.min(bytes.length, givingUp.length);
  for (let length = most; length > 0; length -= 1)
    if (bytes.subarray(bytes.length - length).equals(givingUp.subarray(0, length))) return length;
  return 0;
}

async function* withoutNotice(stderr: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let head: Buffer | null = Buffer.alloc(0);
  for await (const bytes of stderr) {
    if (!head) {
      yield bytes;
      continue;
    }
    head = Buffer.concat([head, bytes]);
    if (!head.includes('\n') && head.length < maxNoticeBytes) continue;
    yield afterNotice(head);
    head = null;
  }
  if (head) yield afterNotice(head);
}

function afterNotice(head: Buffer): Buffer {
  return head.subarray(traceNotice.exec(head.toString('latin1'))?.[0].length ?? 0);
}
