import { mkdir, open, readdir, readFile, rename, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { createDataFolder } from '../host/data-folders.ts';
import { removeQuietly } from '../lib/files.ts';
import { KilnError } from '../model/error.ts';
import { isTokenId, type KeptToken, keptToken, makeToken, type TokenRequest } from './token.ts';

/**
 * What is kept of the tokens of an installation: a file for each, below the data folder. The service looks into it at each request, so
 * that a command beside it changes tokens at once: each file is there whole or not at all, and no two commands ever write the same one.
 */
export class TokenFolder {
  readonly path: string;
  readonly #data: string;

  /** @param data The data folder. */
  constructor(data: string) {
    this.#data = data;
    this.path = join(data, 'tokens');
  }

  /**
   * Whether callers need a token. They do from the first one on, also after the last one was revoked: a service must not open itself to
   * everybody because nobody is trusted any more. Without the folder they do not.
   */
  async required(): Promise<boolean> {
    return (await ifThere(stat(this.path))) !== null;
  }

  /** Makes a token and keeps it on the disk. @returns its text, which is never shown again */
  async create(request: TokenRequest): Promise<{ readonly id: string; readonly text: string }> {
    const { kept, text } = makeToken(request);
    await createDataFolder(this.#data);
    await mkdir(this.path, { recursive: true, mode: 0o700 });
    const unfinished = join(this.path, `${kept.id}.new`);
    await using undo = new AsyncDisposableStack();
    undo.defer(() => removeQuietly(unfinished));
    {
      await using file = await open(unfinished, 'wx', 0o600);
      await file.writeFile(`${JSON.stringify(kept)}\n`);
      await file.sync();
    }
    await rename(unfinished, this.#fileOf(kept.id));
    undo.move();
    await this.#sync();
    return { id: kept.id, text };
  }

  /** Whether there is one. */
  async any(): Promise<boolean> {
    return (await this.#ids()).length > 0;
  }

  /** All tokens, oldest first. */
  async list(): Promise<KeptToken[]> {
    const tokens = await Promise.all((await this.#ids()).map((id) => this.find(id)));
    return tokens
      .filter((token) => token !== null)
      .toSorted((one, other) => one.created.localeCompare(other.created));
  }

  /** @param id One that `isTokenId`: it becomes part of a path. @throws Error when its file is damaged */
  async find(id: string): Promise<KeptToken | null> {
    const path = this.#fileOf(id);
    const text = await ifThere(readFile(path, 'utf8'));
    if (text === null) return null;
    const parsed = keptToken.safeParse(parseJson(text));
    if (parsed.success && parsed.data.id === id) return parsed.data;
    throw new Error(`${path} is damaged; revoke the token ${id} and make another.`);
  }

  /** From then on no request is let in by it. @throws KilnError NOT_FOUND */
  async revoke(id: string): Promise<void> {
    const removed = isTokenId(id) && (await ifThere(unlink(this.#fileOf(id)).then(() => true)));
    if (!removed) {
      const message = `There is no token ${id}; npm run kiln -- token list shows those that there are.`;
      throw new KilnError('NOT_FOUND', message);
    }
    await this.#sync();
  }

  async #ids(): Promise<string[]> {
    const names = (await ifThere(readdir(this.path))) ?? [];
    const ids = names.flatMap((name) => (name.endsWith('.json') ? [name.slice(0, -'.json'.length)] : []));
    return ids.filter(isTokenId);
  }

  #fileOf(id: string): string {
    return join(this.path, `${id}.json`);
  }

  /** Without it a power failure could bring a revoked token back. */
  async #sync(): Promise<void> {
    await using folder = await open(this.path, 'r');
    await folder.sync();
  }
}

/** Null where there is nothing of that name. */
async function ifThere<T>(work: Promise<T>): Promise<T | null> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR'))
      return null;
    throw error;
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
