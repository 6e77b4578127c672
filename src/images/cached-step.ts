import { createHash, randomUUID } from 'node:crypto';
import { access, mkdir, readdir, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { removeQuietly } from '../lib/files.ts';
import type { StepContext } from './run-logged.ts';

/**
 * A step whose result is a folder named by the content of what it is made from: never made twice, never half there. A
 * result is made in a temporary folder and renamed; what an interrupted run left there is removed by the next.
 */
export async function cachedStep(
  step: {
    name: string;
    what: string;
    inputs: readonly (string | Buffer)[];
    make: (directory: string) => Promise<void>;
  },
  context: StepContext & { cacheDirectory: string },
): Promise<string> {
  const parent = join(context.cacheDirectory, step.name);
  const result = join(parent, contentKey(step.inputs));
  if (await exists(result)) {
    context.progress(`${step.name}  ${step.what}: there already`);
    return result;
  }
  context.progress(`${step.name}  ${step.what} …`);
  const started = performance.now();
  await mkdir(parent, { recursive: true });
  await removeUnfinished(parent);
  const unfinished = join(parent, `unfinished-${randomUUID()}`);
  await mkdir(unfinished);
  try {
    await step.make(unfinished);
    await rename(unfinished, result);
  } catch (error) {
    await removeQuietly(unfinished);
    throw error;
  }
  context.progress(
    `${step.name}  ${step.what}: made in ${((performance.now() - started) / 1000).toFixed(0)} s`,
  );
  return result;
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

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
