import { link, mkdir, open, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { exists, removeQuietly, syncFolder } from '../lib/files.ts';
import type { NamedArchive, SealedContexts } from '../model/context.ts';
import type { BuildSpec } from '../model/spec.ts';

/** What a build was asked, beside its spec, which its record holds. */
export type BuildInput = {
  readonly context: KeptContexts | null;
  /** Where named contexts that are no archives come from, in full; the record says less where they hold a secret. */
  readonly sources: BuildSpec['buildContexts'];
  readonly dockerfile: Buffer | null;
};

/** The image of all contexts is a file of the build. */
type KeptContexts = Pick<SealedContexts, 'path' | 'directory'> & {
  readonly named: readonly Omit<NamedArchive, 'summary'>[];
};

/** What is known of the input that is no file of its own. */
type Asked = {
  readonly context: Omit<KeptContexts, 'path'> | null;
  readonly sources: BuildSpec['buildContexts'];
  readonly hasDockerfile: boolean;
};

/**
 * Puts what a build was asked into its folder, and resolves when all of it is on the disk. An image gets one more name, on the same file
 * system: builds of one matrix share it.
 * @param directory The build's.
 */
export async function keepInput(
  directory: string,
  { context, sources, dockerfile }: BuildInput,
): Promise<void> {
  const { folder, image, dockerfile: dockerfilePath, asked } = pathsIn(directory);
  await mkdir(folder, { mode: 0o700 });
  if (context) {
    await link(context.path, image);
    await using file = await open(image, 'r');
    await file.sync();
  }
  if (dockerfile) await writeFile(dockerfilePath, dockerfile, { mode: 0o600, flush: true });
  const told: Asked = {
    context: context && {
      directory: context.directory,
      named: context.named.map(({ name, directory: at, imageDigest }) => ({
        name,
        directory: at,
        imageDigest,
      })),
    },
    sources,
    hasDockerfile: dockerfile !== null,
  };
  await writeFile(asked, JSON.stringify(told), { mode: 0o600, flush: true });
  await syncFolder(folder);
  await syncFolder(directory);
}

/** Whether a build can be run from its folder; those of earlier kilns cannot. */
export function hasInput(directory: string): Promise<boolean> {
  return exists(pathsIn(directory).asked);
}

export async function readInput(directory: string): Promise<BuildInput> {
  const { image, dockerfile, asked } = pathsIn(directory);
  // We wrote it.
  const { context, sources, hasDockerfile }: Asked = JSON.parse(await readFile(asked, 'utf8'));
  return {
    context: context && { ...context, path: image },
    sources,
    dockerfile: hasDockerfile ? await readFile(dockerfile) : null,
  };
}

/** A build that has ended needs it no more. Never rejects. */
export async function removeInput(directory: string): Promise<void> {
  await removeQuietly(pathsIn(directory).folder);
}

function pathsIn(directory: string): Readonly<Record<'folder' | 'image' | 'dockerfile' | 'asked', string>> {
  const folder = join(directory, 'input');
  return {
    folder,
    image: join(folder, 'context.erofs'),
    dockerfile: join(folder, 'Dockerfile'),
    asked: join(folder, 'asked.json'),
  };
}
