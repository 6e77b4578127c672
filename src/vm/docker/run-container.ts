import { randomUUID } from 'node:crypto';
import { PassThrough } from 'node:stream';
import { finished } from 'node:stream/promises';
import type { ProcessEnd } from '../../lib/process/start-process.ts';
import { KilnError } from '../../model/error.ts';
import type { QemuRun } from '../launcher.ts';
import type { ContainerRequest } from './container-options.ts';
import type { Containers } from './containers.ts';

type Run = Pick<ContainerRequest, 'command' | 'image' | 'limits' | 'accelerator'> &
  Partial<Pick<ContainerRequest, 'reads' | 'scratch'>>;

/** Runs one command in a container as kiln's own user, and removes that; what goes wrong is told by `ended`. */
export function runContainer(containers: Containers, run: Run): QemuRun {
  const stdout = new PassThrough();
  const killing = new AbortController();
  const ended = follow({ containers, run, stdout }, killing.signal).catch((error: unknown): ProcessEnd => {
    const { message } = KilnError.from(error);
    return {
      succeeded: false,
      how: killing.signal.aborted ? 'was ended' : `could not be started: ${message}`,
    };
  });
  void ended.then(() => stdout.end());
  return {
    ended,
    stdout,
    kill: () => {
      killing.abort(new KilnError('CANCELLED', 'A container was ended.'));
      return ended;
    },
  };
}

async function follow(
  { containers, run, stdout }: { containers: Containers; run: Run; stdout: PassThrough },
  signal: AbortSignal,
): Promise<ProcessEnd> {
  const { engine, installation } = containers;
  await using undo = new AsyncDisposableStack();
  const name = `kiln-${installation}-run-${randomUUID()}`;
  const request = { user: null, directory: null, reads: [], scratch: false, ...run, name };
  const own = await containers.create(request, signal);
  undo.defer(async () => void (await own.remove()));
  const output = await engine.ask('pass on what a container prints', signal, (_docker, abortSignal) =>
    own.container.attach({ stream: true, stdout: true, stderr: false, abortSignal }),
  );
  const errors = new PassThrough();
  errors.resume();
  engine.docker.modem.demuxStream(output, stdout, errors);
  await engine.ask('start a container', signal, (_docker, abortSignal) =>
    own.container.start({ abortSignal }),
  );
  // An engine that goes away cuts the output short; what it says of the end tells the rest.
  const printed = finished(output).catch(() => undefined);
  await Promise.race([printed, aborted(signal)]);
  signal.throwIfAborted();
  const how = await own.describeEnd();
  return { succeeded: how === 'exited with 0' || how.startsWith('exited with 0:'), how };
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
