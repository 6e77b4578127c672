import { printable } from '../lib/text.ts';
import { type ErrorCode, KilnError } from '../model/error.ts';

/** One entry of an archive, by whatever format it came. Names are raw bytes: what they mean is decided here, once. */
export type Member = {
  readonly name: Buffer;
  readonly type: 'file' | 'directory' | 'symlink' | 'hardlink';
  /** Bytes of content; 0 for all but files. */
  readonly size: number;
  /** Target of a link; empty for others. */
  readonly target: Buffer;
  /** Where the content begins in the staged image, in bytes. */
  readonly offset: number;
};

/** What is known of a path: enough to check later entries against and to read a file back. */
export type KnownMember =
  | { readonly type: 'file'; readonly offset: number; readonly size: number }
  | { readonly type: 'symlink'; readonly target: string }
  /** `implied`: only seen as the parent of another entry so far. */
  | { readonly type: 'directory'; readonly implied: boolean };

const maxNameBytes = 4096;
const maxPartBytes = 255;
const maxDepth = 255;
const maxWarnings = 20;
/** 160 characters for each of 200 000 entries. */
const maxNamesLength = 32 * 1024 * 1024;

const directory: KnownMember = { type: 'directory', implied: false };
const impliedDirectory: KnownMember = { type: 'directory', implied: true };

/**
 * What a context may hold: no name that leaves it, none that is written through a link, none twice. Checked for each entry
 * before it is passed on; the same for tar and zip.
 */
export class MemberRules {
  readonly index = new Map<string, KnownMember>();
  readonly warnings: string[] = [];
  readonly #maxEntries: number;
  readonly #folded = new Set<string>();
  readonly #utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  #count = 0;
  #implied = 0;
  #namesLength = 0;

  constructor(maxEntries: number) {
    this.#maxEntries = maxEntries;
  }

  get count(): number {
    return this.#count;
  }

  /**
   * @returns the entry's path, as `parsePath` gives it.
   * @throws KilnError with the code of the rule that is broken.
   */
  add(entry: Member): string {
    this.#count += 1;
    if (this.#count > this.#maxEntries) throw tooManyEntries(this.#maxEntries);
    const name = this.#decode(entry.name, entry.name);
    const path = parsePath(name);
    if (path === '' && entry.type !== 'directory')
      throw refuse('ENTRY_NAME', name, 'names the root of the context and is no folder');
    this.#addParents(name, path);
    this.#checkPlace(name, path, entry);
    this.index.set(path, this.#indexEntry(name, entry));
    this.#countNames(path.length + entry.target.length);
    this.#warnOfTwins(path);
    return path;
  }

  /** Lets the names go, of which there may be 200 000, once all was checked. */
  forget(): void {
    this.index.clear();
    this.#folded.clear();
  }

  #decode(bytes: Buffer, name: Buffer): string {
    try {
      return this.#utf8.decode(bytes);
    } catch {
      throw refuse('ENTRY_NAME_ENCODING', name.toString('latin1'), 'is not valid UTF-8');
    }
  }

  /** What is above a known folder was checked when that folder came. */
  #addParents(name: string, path: string): void {
    for (let end = path.lastIndexOf('/'); end > 0; end = path.lastIndexOf('/', end - 1)) {
      const parent = path.slice(0, end);
      const known = this.index.get(parent);
      if (known?.type === 'directory') return;
      if (known?.type === 'symlink') {
        const link = `'${printable(parent)}' → '${printable(known.target)}'`;
        const what = `would be written through the symbolic link ${link}. Links must stay inside the context`;
        throw refuse('ENTRY_THROUGH_LINK', name, what);
      }
      if (known) throw refuse('ENTRY_CONFLICT', name, `lies below '${printable(parent)}', which is a file`);
      this.index.set(parent, impliedDirectory);
      this.#implied += 1;
      if (this.#implied > this.#maxEntries) throw tooManyEntries(this.#maxEntries);
    }
  }

  /** Names are what stays in memory of an archive, so they are limited as a whole too. */
  #countNames(length: number): void {
    this.#namesLength += length;
    if (this.#namesLength <= maxNamesLength) return;
    const message = `The names in the archive are longer than ${maxNamesLength} characters together; leave out what the build does not need.`;
    throw new KilnError('ARCHIVE_TOO_LARGE', message, { details: { limit: maxNamesLength } });
  }

  #checkPlace(name: string, path: string, { type }: Member): void {
    const known = this.index.get(path);
    if (!known) return;
    if (known.type !== 'directory' || !known.implied)
      throw refuse('ENTRY_DUPLICATE', name, 'is in the archive twice');
    if (type !== 'directory')
      throw refuse('ENTRY_CONFLICT', name, 'takes the place of a folder that has entries');
  }

  #indexEntry(name: string, { type, offset, size, target }: Member): KnownMember {
    if (type === 'directory') return directory;
    if (type === 'file') return { type, offset, size };
    const text = this.#decode(target, target);
    if (type === 'hardlink') return this.#resolveHardlink(name, text);
    if (text === '' || text.includes('\0') || target.length > maxNameBytes) {
      throw refuse(
        'ENTRY_NAME',
        name,
        `is a symbolic link whose target is empty or longer than ${maxNameBytes} bytes`,
      );
    }
    return { type, target: text };
  }

  /** A hard link is the file it names, which must have come before it. */
  #resolveHardlink(name: string, target: string): KnownMember {
    const path = simplifyPath(target);
    const linked =
      target.startsWith('/') || path.split('/').includes('..') ? undefined : this.index.get(path);
    if (linked?.type === 'file') return linked;
    throw refuse(
      'HARDLINK_TARGET',
      name,
      `is a hard link to '${printable(target)}', which is no earlier file of the archive`,
    );
  }

  /** The guest keeps both; people on other file systems cannot. */
  #warnOfTwins(path: string): void {
    const folded = fold(path);
    const twin =
      folded === path ? this.#folded.has(folded) : this.#folded.has(folded) || this.index.has(folded);
    if (folded !== path) this.#folded.add(folded);
    if (!twin || this.warnings.length >= maxWarnings) return;
    this.warnings.push(`'${printable(path)}' differs from another entry only in case or Unicode form.`);
  }
}

/** The path without `.` and empty parts. */
export function simplifyPath(path: string): string {
  return path
    .split('/')
    .filter((part) => part !== '' && part !== '.')
    .join('/');
}

/** The same for names that differ only in case or Unicode form. Most names are folded as they are. */
function fold(path: string): string {
  return /[A-Z\u0080-\uffff]/.test(path) ? path.normalize('NFC').toUpperCase().toLowerCase() : path;
}

/**
 * The path an entry's name stands for: without `.` and empty parts; empty for the root itself.
 * @throws KilnError when the name is none that a context may have.
 */
export function parsePath(name: string): string {
  if (name === '') throw refuse('ENTRY_NAME', name, 'has an empty name');
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (/[\u0000-\u001f\u007f-\u009f]/.test(name))
    throw refuse('ENTRY_NAME', name, 'has a control character in its name');
  if (/^(?:[/\\]|[A-Za-z]:[/\\])/.test(name))
    throw refuse('ENTRY_ABSOLUTE', name, 'has an absolute path; paths start inside the context');
  if (Buffer.byteLength(name) > maxNameBytes) {
    throw refuse('ENTRY_NAME_TOO_LONG', name, `has a path longer than ${maxNameBytes} bytes`);
  }
  const parts = name.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..'))
    throw refuse('ENTRY_ESCAPES', name, "has '..' in its path; paths must stay inside the context");
  if (parts.length > maxDepth) throw refuse('ENTRY_TOO_DEEP', name, `is more than ${maxDepth} folders deep`);
  if (parts.some((part) => Buffer.byteLength(part) > maxPartBytes)) {
    throw refuse('ENTRY_NAME_TOO_LONG', name, `has a part longer than ${maxPartBytes} bytes`);
  }
  return parts.join('/');
}

/** One sentence about one entry. */
export function refuse(code: ErrorCode, name: string, what: string): KilnError {
  const entry = printable(name);
  return new KilnError(code, `Archive entry '${entry}' ${what}.`, { details: { entry } });
}

export function sparse(name: Buffer): KilnError {
  return refuse('ENTRY_SPARSE', name.toString('utf8'), 'is a sparse file; make the archive without --sparse');
}

export function unknownType(name: Buffer): KilnError {
  return refuse(
    'ENTRY_TYPE',
    name.toString('utf8'),
    'is neither a file, a folder nor a link; a context holds nothing else',
  );
}

export function tooManyEntries(limit: number): KilnError {
  return new KilnError(
    'ARCHIVE_TOO_MANY_ENTRIES',
    `The archive has more than ${limit} entries; leave out what the build does not need.`,
    { details: { limit } },
  );
}
