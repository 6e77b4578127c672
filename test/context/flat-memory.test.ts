import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { senderFile } from './send-large-context.ts';
import { Staging } from './staging.ts';

const MiB = 1024 * 1024;
const maxBlockedMs = 50;

type Figures = { readonly rssMiB: number; readonly blockedMs: number; readonly entries: number };

/** Stages what a sender process writes; how much RSS grew meanwhile at most, and how long the event loop was held up. */
async function stageLarge(bigBytes: number, smallEntries: number, layout = 'nested'): Promise<Figures> {
  await using staging = await Staging.create();
  const child = spawn(process.execPath, [senderFile, String(bigBytes), String(smallEntries), layout], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  const highest = watchProcess();
  try {
    await using staged = await staging.stage(child.stdout);
    return { ...highest(), entries: staged.summary.entries };
  } finally {
    highest();
    child.kill();
    await exited;
  }
}

/**
 * Watches until the function it returns is called. What holds up the event loop is measured as processor time of this thread
 * between two ticks of a timer: while other processes have the processor, nothing of ours is to blame.
 */
function watchProcess(): () => { rssMiB: number; blockedMs: number } {
  const before = process.memoryUsage.rss();
  let rss = before;
  let blocked = 0;
  let last = process.threadCpuUsage();
  const look = (): void => {
    const { user, system } = process.threadCpuUsage(last);
    last = process.threadCpuUsage();
    blocked = Math.max(blocked, user + system);
    rss = Math.max(rss, process.memoryUsage.rss());
  };
  const timer = setInterval(look, 5);
  return () => {
    clearInterval(timer);
    return { rssMiB: Math.round((rss - before) / MiB), blockedMs: Math.round(blocked / 1000) };
  };
}

/** Live memory of 200 000 names is about 50 MiB; the rest is what V8 lets its heap grow meanwhile. */
const contexts = [
  { name: 'of 2 GiB', bytes: 2048 * MiB, entries: 20_000, layout: 'nested', maxRssMiB: 64 },
  { name: 'of 200 000 entries', bytes: 0, entries: 200_000, layout: 'nested', maxRssMiB: 192 },
  { name: 'of 200 000 entries in one folder', bytes: 0, entries: 200_000, layout: 'flat', maxRssMiB: 192 },
];

for (const { name, bytes, entries, layout, maxRssMiB } of contexts) {
  test(`a context ${name} raises RSS by at most ${maxRssMiB} MiB and blocks the event loop at most ${maxBlockedMs} ms`, async (t) => {
    // A service that has taken such a number of files before: what a heap grows to for its first is no matter of size.
    await stageLarge(64 * MiB, Math.min(entries, 20_000));
    const figures = await stageLarge(bytes, entries, layout);
    t.diagnostic(JSON.stringify(figures));
    assert.equal(figures.entries, entries + (bytes > 0 ? 1 : 0));
    assert.ok(figures.rssMiB <= maxRssMiB, JSON.stringify(figures));
    assert.ok(figures.blockedMs <= maxBlockedMs, JSON.stringify(figures));
  });
}
