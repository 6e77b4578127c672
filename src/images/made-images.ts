import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { replaceFile } from '../lib/files.ts';
import { imageTargets } from '../model/operation.ts';

const refsSchema = z.array(
  z.strictObject({
    // Earlier kilns noted VM images alone.
    kind: z.enum(imageTargets).default('vm'),
    version: z.string(),
    directory: z.string(),
  }),
);
export type MadeImage = z.infer<typeof refsSchema>[number];

const suffix = '.made.json';

/** The images that operations of this installation made, one file for each entry: others may share the cache they lie in. */
export class MadeImages {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  async note(entry: string, image: MadeImage): Promise<void> {
    const others = (await this.#read(entry)).filter(({ directory }) => directory !== image.directory);
    await this.#write(entry, [...others, image]);
  }

  async forget(entry: string, image: MadeImage): Promise<void> {
    const images = await this.#read(entry);
    await this.#write(
      entry,
      images.filter(({ directory }) => directory !== image.directory),
    );
  }

  /** All there are. */
  async list(): Promise<readonly (MadeImage & { readonly entry: string })[]> {
    const names = (await readdir(this.#directory)).filter((name) => name.endsWith(suffix)).toSorted();
    const lists = names.map(async (name) => {
      const entry = name.slice(0, -suffix.length);
      return (await this.#read(entry)).map((image) => ({ entry, ...image }));
    });
    return (await Promise.all(lists)).flat();
  }

  /** A list that is damaged names nothing: what it named stays where it is. */
  async #read(entry: string): Promise<MadeImage[]> {
    try {
      return refsSchema.parse(JSON.parse(await readFile(this.#path(entry), 'utf8')));
    } catch {
      return [];
    }
  }

  async #write(entry: string, images: readonly MadeImage[]): Promise<void> {
    await replaceFile(this.#path(entry), `${JSON.stringify(images, null, 2)}\n`);
  }

  #path(entry: string): string {
    return join(this.#directory, `${entry}${suffix}`);
  }
}
