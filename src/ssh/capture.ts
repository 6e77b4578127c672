import { withDeadline } from '../lib/abort.ts';
import { together } from '../lib/together.ts';
import { KilnError } from '../model/error.ts';
import type { SshConnection } from './connection.ts';

/** Whatever a guest says is cut here: it is untrusted. */
const maxBytes = 1024 * 1024;

/** For what says nothing else: the end of the boot takes a minute under emulation on a busy machine. */
const longestMs = 180_000;

/** None is without a deadline: a guest that hangs would hold up whoever waits for it, for ever. */
export type CaptureOptions = {
  readonly input?: Buffer;
  readonly deadlineMs?: number;
  readonly signal: AbortSignal;
};

/**
 * Runs a command in the guest to its end and returns its standard output.
 * @throws KilnError INFRA when it exits with anything but 0 (with the end of its error output), says too much or does not end in time.
 */
export async function capture(
  connection: SshConnection,
  command: string,
  { input, deadlineMs = longestMs, signal }: CaptureOptions,
): Promise<string> {
  const reason = (): Error =>
    new KilnError('INFRA', `In the guest, '${command}' did not end within ${deadlineMs / 1000} s.`);
  const [output, errors, code] = await withDeadline({ ms: deadlineMs, signal, reason }, async (limited) => {
    const started = await connection.start(command, limited);
    return together(limited, (linked) => {
      const { stdout, stderr, exitCode } = started.send(input, linked);
      return [collect(stdout), collect(stderr), exitCode];
    });
  });
  if (code === 0) return output;
  throw new KilnError(
    'INFRA',
    `In the guest, '${command}' exited with ${code}: ${errors.trim().slice(-500)}`,
  );
}

async function collect(chunks: AsyncIterable<Buffer>): Promise<string> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const chunk of chunks) {
    size += chunk.length;
    if (size > maxBytes) throw new KilnError('INFRA', `The guest sent more than ${maxBytes} bytes.`);
    parts.push(chunk);
  }
  return Buffer.concat(parts).toString('utf8');
}
