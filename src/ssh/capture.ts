import { KilnError } from '../model/error.ts';
import type { SshConnection } from './connection.ts';

/** Whatever a guest says is cut here: it is untrusted. */
const maxBytes = 1024 * 1024;

/**
 * Runs a command in the guest to its end and returns its standard output.
 * @throws KilnError INFRA when it exits with anything but 0 (with the end of its error output) or says too much.
 */
export async function capture(
  connection: SshConnection,
  command: string,
  options: { input?: Buffer; signal: AbortSignal },
): Promise<string> {
  const { input, signal } = options;
  const { stdout, stderr, exitCode } = (await connection.start(command, signal)).send(input, signal);
  const [output, errors, code] = await Promise.all([collect(stdout), collect(stderr), exitCode]);
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
