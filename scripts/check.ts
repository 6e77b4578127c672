import { Buffer } from 'node:buffer';
import { spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { delimiter, dirname, join } from 'node:path';

/**
 * `npm run check`: every guard that needs no virtual machine. One line each with its time; the whole output of
 * those that fail; exit status 1 if any did.
 */
const root = dirname(import.meta.dirname);
// The tools are scripts of `#!/usr/bin/env node`: they must find this Node, not an older one of the machine.
const env = { ...process.env, PATH: [dirname(process.execPath), process.env['PATH']].join(delimiter) };

type Check = { readonly name: string; readonly command: string; readonly args: readonly string[] };

/** Longest first, so that the short ones fill the other core. */
const checks: readonly Check[] = [
  { name: 'types', command: 'tsc', args: ['--noEmit', '--pretty', 'false'] },
  { name: 'lint', command: 'oxlint', args: ['--type-aware', '--deny-warnings'] },
  { name: 'dead code', command: 'knip', args: ['--no-progress'] },
  { name: 'layers', command: 'depcruise', args: ['--output-type', 'err', 'src'] },
  { name: 'format', command: 'biome', args: ['ci', '--error-on-warnings', '.'] },
  { name: 'proto lint', command: 'buf', args: ['lint'] },
  { name: 'proto format', command: 'buf', args: ['format', '--diff', '--exit-code'] },
];

const started = performance.now();
const failed: string[] = [];
const waiting = [...checks];
const interrupted = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => interrupted.abort());

await Promise.all(Array.from({ length: Math.min(2, availableParallelism()) }, work));

const seconds = ((performance.now() - started) / 1000).toFixed(1);
console.log(
  failed.length === 0 ? `check passed in ${seconds} s` : `check failed in ${seconds} s: ${failed.join(', ')}`,
);
process.exitCode = failed.length === 0 ? 0 : 1;

async function work(): Promise<void> {
  for (let check = waiting.shift(); check && !interrupted.signal.aborted; check = waiting.shift()) {
    const begun = performance.now();
    const { passed, output } = await runCheck(check);
    const time = `${((performance.now() - begun) / 1000).toFixed(1)} s`;
    console.log(`${passed ? 'ok  ' : 'FAIL'}  ${check.name.padEnd(14)}${time.padStart(7)}`);
    if (passed) continue;
    failed.push(check.name);
    console.log(output.trimEnd());
  }
}

async function runCheck({ command, args }: Check): Promise<{ passed: boolean; output: string }> {
  const child = spawn(join(root, 'node_modules/.bin', command), args, {
    cwd: root,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const kill = (): void => void child.kill('SIGTERM');
  interrupted.signal.addEventListener('abort', kill, { once: true });
  const output: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => output.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => output.push(chunk));
  const passed = await new Promise<boolean>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (status) => resolve(status === 0));
  });
  return { passed, output: Buffer.concat(output).toString() };
}
