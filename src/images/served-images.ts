import { join } from 'node:path';
import { z } from 'zod';
import { readIfThere, replaceFile } from '../lib/files.ts';
import { KilnError } from '../model/error.ts';

const refSchema = z.strictObject({ version: z.string(), directory: z.string() });
const recordSchema = z.strictObject({ served: refSchema.nullable(), previous: refSchema.nullable() });

/** A VM image that an operation made, by its folder in the cache; null stands for the one that a start of kiln makes. */
export type ImageRef = z.infer<typeof refSchema> | null;

/** What the builds of an entry run on, and what they ran on before. */
export type Served = { readonly served: ImageRef; readonly previous: ImageRef };

/** Which image each entry serves, one file for each entry that ever served another than the one that a start makes. */
export class ServedImages {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Null for an entry of which no other image was ever made. @throws KilnError INTERNAL for a file that is damaged */
  async read(entry: string): Promise<Served | null> {
    const path = this.#path(entry);
    const text = await readIfThere(path);
    if (text === null) return null;
    try {
      return recordSchema.parse(JSON.parse(text));
    } catch (cause) {
      throw new KilnError(
        'INTERNAL',
        `${path} is damaged; remove it, and ${entry} serves the image that a start of kiln makes.`,
        {
          cause,
        },
      );
    }
  }

  /** Builds of the entry run on this image from now on. Once more for the same one, as after a crash, the one before it stays that. */
  async serve(entry: string, next: ImageRef): Promise<void> {
    const before = await this.read(entry);
    const again = before !== null && before.served?.directory === next?.directory;
    const record: Served = { served: next, previous: (again ? before.previous : before?.served) ?? null };
    await replaceFile(this.#path(entry), `${JSON.stringify(record, null, 2)}\n`);
  }

  #path(entry: string): string {
    return join(this.#directory, `${entry}.json`);
  }
}
