import { startPiped, waitForEnd } from './start-process.ts';

/** No tool of ours says this much; one that does is at something else. */
const maxOutputBytes = 16 * 1024 * 1024;

/**
 * Runs a tool to its end; resolves with its standard output.
 * @throws Error with the tool's name, how it ended and the end of its error output; the signal's reason on abort.
 */
export async function runTool(
  command: string,
  args: readonly string[],
  signal: AbortSignal,
): Promise<string> {
  signal.throwIfAborted();
  const running = startPiped({ command, args });
  running.stdin.end();
  const output: Buffer[] = [];
  let bytes = 0;
  running.stdout.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > maxOutputBytes) void running.kill();
    else output.push(chunk);
  });
  const { succeeded, how } = await waitForEnd(running, signal);
  if (bytes > maxOutputBytes) throw new Error(`${command} printed more than ${maxOutputBytes} bytes.`);
  if (!succeeded) throw new Error(`${command} ${how}`);
  return Buffer.concat(output).toString('utf8');
}
