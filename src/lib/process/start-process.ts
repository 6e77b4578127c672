import { addAbortListener } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { execa } from 'execa';

/** What is run: a name that is looked for in kiln's own PATH, or an absolute path. */
export type Program = { readonly command: string; readonly args: readonly string[] };

export type ProcessOptions = {
  readonly cwd?: string;
  /** On top of kiln's own environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** Gives it nothing of kiln's own environment. */
  readonly bareEnvironment?: boolean;
};

/** How a process ended. */
export type ProcessEnd = {
  readonly succeeded: boolean;
  /** What follows its name in a sentence: `exited with 3: no such file`, `was ended by SIGKILL`, `could not be started: …`. */
  readonly how: string;
};

export type RunningProcess = {
  /** Resolves, never rejects, once it and its outputs are at their end. */
  readonly ended: Promise<ProcessEnd>;
  /** Ends it at once, with all it started that stayed in its process group. Resolves as `ended` does. */
  kill(): Promise<ProcessEnd>;
};

/** Its standard output must be read, or it stalls. A write to a process that is gone is lost without an error: `ended` tells. */
export type PipedProcess = RunningProcess & {
  readonly pid: number | undefined;
  readonly stdin: Writable;
  readonly stdout: Readable;
};

/** How much of its error output is kept to say why it failed, in characters. */
const errorTailLength = 2000;

/**
 * Starts a program in a process group of its own, so that Ctrl-C in kiln's terminal reaches kiln alone. That it cannot be
 * started is told by `ended`, as any other end.
 * @param options.descriptor An open file; the program knows it as fd 3.
 */
export function startPiped(
  program: Program,
  options: ProcessOptions & { descriptor?: number } = {},
): PipedProcess {
  const { descriptor } = options;
  const child = execa(program.command, program.args, {
    ...executionOptions(options),
    stdio: ['pipe', 'pipe', 'pipe', ...(descriptor === undefined ? [] : [descriptor as OpenFile])],
  });
  const { pid, stdin, stdout, stderr } = child;
  let errors = '';
  stderr.setEncoding('utf8').on('data', (text: string) => {
    errors = (errors + text).slice(-errorTailLength);
  });
  for (const stream of [stdin, stdout, stderr]) stream.on('error', () => undefined);
  return { pid, stdin, stdout, ...watch(child, () => errors.trim()) };
}

/**
 * Ends the whole process group once kiln is gone, however it ended: kiln holds the other end of fd 3, which nobody else has.
 * https://man7.org/linux/man-pages/man2/kill.2.html: 0 is the group of whoever calls.
 */
const watched = '(cat; kill -KILL 0) <&3 >/dev/null 2>&1 & exec 3<&-; exec "$@"';

/**
 * Starts a program that writes all it prints into an open file itself: what goes wrong with that file is the program's affair.
 * It ends with kiln.
 */
export function startLogged(program: Program, log: number, options: ProcessOptions = {}): RunningProcess {
  const child = execa('sh', ['-c', watched, 'sh', program.command, ...program.args], {
    ...executionOptions(options),
    stdio: ['ignore', log as OpenFile, log as OpenFile, 'pipe'],
  });
  return watch(child, () => '');
}

/** Waits for the end of a process. An abort ends it, and rejects with the signal's own reason once it is gone. */
export async function waitForEnd(running: RunningProcess, signal: AbortSignal): Promise<ProcessEnd> {
  using _listener = addAbortListener(signal, () => void running.kill());
  const end = await running.ended;
  signal.throwIfAborted();
  return end;
}

/**
 * The same program under setpriv(1): the kernel kills it when kiln dies, however that ends.
 * @param options.privileges Further words for setpriv.
 */
export function tieToKiln(
  { command, args }: Program,
  { setpriv, privileges }: { setpriv: string; privileges: readonly string[] },
): Program {
  return { command: setpriv, args: [...privileges, '--pdeathsig=KILL', '--', command, ...args] };
}

/** execa takes any open file, and its types know those from 3 to 9. */
type OpenFile = 3;

/** A caller's token, which may be set where kiln is started: no program that kiln starts has any use for it. */
const withheld = { KILN_TOKEN: undefined };

function executionOptions({ cwd, env, bareEnvironment = false }: ProcessOptions) {
  return {
    ...(cwd === undefined ? {} : { cwd }),
    env: { ...env, ...withheld },
    extendEnv: !bareEnvironment,
    // A failure is told by the result, so that nobody has to catch it.
    reject: false,
    // Memory is ours to bound.
    buffer: false,
    // Signals are main.ts's business; what must not outlive kiln is tied to it by the kernel.
    cleanup: false,
    killDescendants: true,
  } as const;
}

type Child = PromiseLike<{
  readonly exitCode?: number | undefined;
  readonly signal?: string | undefined;
  readonly cause?: unknown;
}> & {
  readonly nodeChildProcess: { once(event: 'exit', listener: () => void): unknown };
  kill(signal: 'SIGKILL'): boolean;
};

function watch(child: Child, readErrors: () => string): RunningProcess {
  let gone = false;
  const kill = (): void => {
    // Its number may be another's by now.
    if (!gone) child.kill('SIGKILL');
  };
  // What it started and left behind goes too: it would keep the outputs open, for whose end `ended` waits.
  child.nodeChildProcess.once('exit', () => {
    kill();
    gone = true;
  });
  const ended = describeEnd(child, readErrors);
  return {
    ended,
    kill: () => {
      kill();
      return ended;
    },
  };
}

async function describeEnd(child: Child, readErrors: () => string): Promise<ProcessEnd> {
  const { exitCode, signal, cause } = await child;
  const how =
    signal !== undefined
      ? `was ended by ${signal}`
      : exitCode !== undefined
        ? `exited with ${exitCode}`
        : `could not be started: ${cause instanceof Error ? cause.message : String(cause)}`;
  const errors = readErrors();
  return { succeeded: exitCode === 0, how: errors === '' ? how : `${how}: ${errors}` };
}
