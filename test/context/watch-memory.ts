import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { tied } from '../tied.ts';
import { senderFile } from './send-large-context.ts';
import type { SealedContext, Staging } from './staging.ts';

const MiB = 1024 * 1024;

export type LargeContext = { readonly bytes: number; readonly members: number; readonly layout: string };
/** The longest turn of the event loop, as processor time of this thread: in ms, and as a share of all that the staging took. */
export type Figures = {
  readonly rssMiB: number;
  readonly longestTurnMs: number;
  readonly longestTurnShare: number;
};

/** Stages and seals what a sender process writes; how much RSS grew meanwhile at most, and how long the event loop stood still. */
export async function stageLarge(
  staging: Staging,
  { bytes, members, layout }: LargeContext,
): Promise<Figures & { readonly staged: SealedContext | Error }> {
  const child = spawn(...tied(process.execPath, [senderFile, String(bytes), String(members), layout]), {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const exited = once(child, 'exit');
  const figures = watchProcess();
  const staged = await staging.stageSealed(child.stdout).catch((error: Error) => error);
  const result = { ...figures(), staged };
  child.kill();
  await exited;
  return result;
}

/**
 * Watches until the function it returns is called. What holds up the event loop is measured as processor time of this thread
 * between two ticks of a timer: while other processes have the processor, nothing of ours is to blame.
 */
function watchProcess(): () => Figures {
  const before = process.memoryUsage.rss();
  let rss = before;
  let longest = 0;
  const first = process.threadCpuUsage();
  let last = first;
  const look = (): void => {
    const { user, system } = process.threadCpuUsage(last);
    last = process.threadCpuUsage();
    longest = Math.max(longest, user + system);
    rss = Math.max(rss, process.memoryUsage.rss());
  };
  const timer = setInterval(look, 5);
  return () => {
    clearInterval(timer);
    const { user, system } = process.threadCpuUsage(first);
    return {
      rssMiB: Math.round((rss - before) / MiB),
      longestTurnMs: Math.round(longest / 1000),
      longestTurnShare: longest / (user + system),
    };
  };
}

/** What is reachable, in MiB: JavaScript's heap and the buffers outside of it. */
export function liveMiB(): number {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  // Buffers are let go by the collection after the one that finds them.
  collect();
  collect();
  const { heapUsed, external } = process.memoryUsage();
  return Math.round((heapUsed + external) / MiB);
}
