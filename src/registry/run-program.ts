import { z } from 'zod';
import { splitLines } from '../lib/lines.ts';
import { startPiped, waitForEnd } from '../lib/process/start-process.ts';
import { printable } from '../lib/text.ts';

const failureSchema = z.object({
  kind: z.enum(['status', 'network', 'local', 'plain', 'other']),
  status: z.number(),
  retryAfter: z.string(),
  message: z.string(),
});
const progressSchema = z.object({
  what: z.enum(['pushing', 'pushed', 'there', 'sent']),
  digest: z.string(),
  bytes: z.number(),
});
const lineSchema = z.union([
  z.object({ progress: progressSchema }),
  z.object({ failure: failureSchema }),
  z.object({ result: z.unknown() }),
]);

/** Of one blob, or with `sent` of all together. */
export type PushProgress = z.infer<typeof progressSchema>;

/** How a registry refused, or that it could not be reached: ./program/failure.go. */
export class RegistryFailure extends Error {
  override readonly name = 'RegistryFailure';
  readonly failure: z.infer<typeof failureSchema>;

  constructor(failure: z.infer<typeof failureSchema>) {
    super(printable(failure.message, 1000));
    this.failure = failure;
  }
}

/** A manifest of 4 MiB in base64, and what is around it. */
const maxLineBytes = 6 * 1024 * 1024;

/**
 * Asks the program for one thing. It ends with kiln, whose end closes its standard input.
 * @returns what it answers, in the words of ./program
 * @throws RegistryFailure; the signal's reason on abort
 */
export async function runProgram(
  program: string,
  request: object,
  { onProgress, signal }: { onProgress?: (progress: PushProgress) => void; signal: AbortSignal },
): Promise<unknown> {
  signal.throwIfAborted();
  const running = startPiped({ command: program, args: [] });
  running.stdin.write(`${JSON.stringify(request)}\n`);
  let last: z.infer<typeof lineSchema> | null = null;
  const reading = (async () => {
    for await (const line of splitLines(running.stdout, maxLineBytes)) {
      const parsed = lineSchema.parse(JSON.parse(line.toString('utf8')));
      if ('progress' in parsed) onProgress?.(parsed.progress);
      else last = parsed;
    }
  })();
  // Whatever is wrong with what it says, it must not go on.
  reading.catch(() => void running.kill());
  const end = await waitForEnd(running, signal);
  await reading;
  const answer = last as z.infer<typeof lineSchema> | null;
  if (answer === null) throw new Error(`The program that speaks to registries ${end.how} without an answer.`);
  if ('failure' in answer) throw new RegistryFailure(answer.failure);
  return 'result' in answer ? answer.result : undefined;
}
