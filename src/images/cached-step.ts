import { createHash, randomUUID } from 'node:crypto';
import { mkdir, readdir, readFile, rename } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { holdLock } from '../host/hold-lock.ts';
import type { StepContext } from '../host/run-step.ts';
import { exists, removeQuietly } from '../lib/files.ts';
import { runTool } from '../lib/process/run-tool.ts';

type Step = {
  readonly name: string;
  readonly what: string;
  readonly inputs: readonly (string | Buffer)[];
  readonly make: (directory: string) => Promise<void>;
};

type Caches = { readonly cacheDirectory: string; readonly sharedCacheDirectory: string | null };

/**
 * A step whose result is a folder named by the content of what it is made from: never made twice, never half there, also
 * not where two processes share the cache. A result is made in a temporary folder and renamed; what an interrupted run left
 * there is removed by the next.
 */
export async function cachedStep(step: Step, context: StepContext & Caches): Promise<string> {
  const parent = join(context.cacheDirectory, step.name);
  const result = join(parent, contentKey(step.inputs));
  const title = `${step.name}  ${step.what}`;
  const there = await findResult(step, context);
  if (there !== null && there !== result) {
    context.progress(`${title}: there already, in ${there}`);
    return there;
  }
  if (there === null) {
    await mkdir(parent, { recursive: true });
    await using _lock = await holdLock(`${parent}.lock`, {
      onWait: () => context.progress(`${title}: another kiln is making it, waiting for that`),
      signal: context.signal,
    });
    if (!(await exists(result))) {
      await makeResult({ step, parent, result, title }, context);
      return result;
    }
  }
  context.progress(`${title}: there already`);
  return result;
}

/** The result of a step that was made before, another user's before one's own; null where there is none. */
export async function findResult(
  { name, inputs }: Pick<Step, 'name' | 'inputs'>,
  { cacheDirectory, sharedCacheDirectory }: Caches,
): Promise<string | null> {
  for (const cache of [sharedCacheDirectory, cacheDirectory]) {
    const result = cache && join(cache, name, contentKey(inputs));
    if (result && (await exists(result))) return result;
  }
  return null;
}

async function makeResult(
  { step, parent, result, title }: { step: Step; parent: string; result: string; title: string },
  context: StepContext,
): Promise<void> {
  context.progress(`${title} …`);
  const started = performance.now();
  await removeUnfinished(parent);
  const unfinished = join(parent, `unfinished-${randomUUID()}`);
  await mkdir(unfinished);
  try {
    await step.make(unfinished);
    // A result whose bytes a power cut could still take would be there, and empty.
    await runTool('sync', ['--file-system', unfinished], context.signal);
    await rename(unfinished, result);
  } catch (error) {
    await removeQuietly(unfinished);
    throw error;
  }
  context.progress(`${title}: made in ${((performance.now() - started) / 1000).toFixed(0)} s`);
}

/** Removes the result of a step: nobody ever finds a part of it. @returns whether it is gone */
export async function removeResult(result: string): Promise<boolean> {
  const leaving = join(dirname(result), `unfinished-${randomUUID()}`);
  try {
    await rename(result, leaving);
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'ENOENT';
  }
  // What stays is removed by whoever makes the next result.
  await removeQuietly(leaving);
  return true;
}

export function contentKey(inputs: readonly (string | Buffer)[]): string {
  const hash = createHash('sha256');
  for (const input of inputs) hash.update(`${input.length}\n`).update(input);
  return hash.digest('hex').slice(0, 32);
}

/** Names and bytes of all files below a folder, sorted: the inputs of a step. */
export async function readTree(directory: string): Promise<(string | Buffer)[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const contents = await Promise.all(
    files.toSorted().map(async (file) => [file.slice(directory.length), await readFile(file)]),
  );
  return contents.flat();
}

async function removeUnfinished(parent: string): Promise<void> {
  const left = (await readdir(parent)).filter((name) => name.startsWith('unfinished-'));
  await Promise.all(left.map((name) => removeQuietly(join(parent, name))));
}
