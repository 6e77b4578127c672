import { printable } from '../lib/text.ts';

/** What is taken although it may surprise, as one sentence for all members that it happened to. */
const sentences = {
  absolute: 'Leading slashes were taken off names',
  again: 'Of several entries with one name the last counts',
  special: 'Devices, FIFOs and sockets were left out, since no step could use them',
  capability:
    'BuildKit does not keep file capabilities (security.capability) of a context; set them in a RUN step',
  macos: 'What macOS adds to a zip for itself was left out',
  backslash: 'Backslashes in names were taken for slashes',
  unmarked: 'Names that are not marked as UTF-8 were taken for it',
} as const;

export type WarningKind = keyof typeof sentences;

/** Collects the warnings of one archive: one of each kind, however many members there are. */
export class Warnings {
  readonly #noted = new Map<WarningKind, { readonly first: string; count: number }>();

  note(kind: WarningKind, name: string): void {
    const noted = this.#noted.get(kind);
    if (noted) noted.count += 1;
    else this.#noted.set(kind, { first: printable(name), count: 1 });
  }

  /** Sentences, such as "Leading slashes were taken off names: '/a' and 3 more." */
  list(): string[] {
    return [...this.#noted].map(([kind, { first, count }]) => {
      const more = count > 1 ? ` and ${count - 1} more` : '';
      return `${sentences[kind]}: '${first}'${more}.`;
    });
  }
}
