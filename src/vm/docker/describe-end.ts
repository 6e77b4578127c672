import type { Container } from 'dockerode';
import { printable } from '../../lib/text.ts';
import { type DockerEngine, isNotFound } from './engine.ts';

/** Somebody waits to be told that a VM is gone: that comes first, why second. */
const deadlineMs = 2000;
const lastLines = 20;
const maxCharacters = 2000;

/** How a container ended, as what follows its name; one that is about to is waited for. Never rejects. */
export async function describeEnd(
  ended: { engine: DockerEngine; container: Container; memoryMiB: number },
  signal: AbortSignal,
): Promise<string> {
  const { engine, container, memoryMiB } = ended;
  const ask = <T>(call: (abortSignal: AbortSignal) => Promise<T>): Promise<T> =>
    engine.ask('say how a container ended', signal, (_docker, abortSignal) => call(abortSignal), deadlineMs);
  try {
    await ask((abortSignal) => container.wait({ abortSignal }));
    const { State } = await ask((abortSignal) => container.inspect({ abortSignal }));
    if (State.OOMKilled) return `was ended by the kernel: it needed more than its ${memoryMiB} MiB`;
    const { ExitCode: code } = State;
    const how = code > 128 ? `was ended by signal ${code - 128}` : `exited with ${code}`;
    const output = await ask((abortSignal) =>
      container.logs({ follow: false, stdout: false, stderr: true, tail: lastLines, abortSignal }),
    );
    const words = printable(unframe(output).trim().slice(-maxCharacters), maxCharacters);
    return words === '' ? how : `${how}: ${words}`;
  } catch (error) {
    return isNotFound(error)
      ? 'was removed from the Docker engine'
      : 'ended; the Docker engine does not say how';
  }
}

/** Each piece of the output has a header of eight bytes, the last four its length. */
function unframe(output: Buffer): string {
  const pieces: Buffer[] = [];
  for (let at = 0; at + 8 <= output.length; ) {
    const end = at + 8 + output.readUInt32BE(at + 4);
    pieces.push(output.subarray(at + 8, end));
    at = end;
  }
  return Buffer.concat(pieces).toString('utf8');
}
