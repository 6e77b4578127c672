import type { EntrySummary } from './build.ts';

/** An archive entry, and what this host has of it. */
export type CatalogItem = {
  /** Such as `buildkit-v0.20.2`. */
  readonly entry: string;
  /** Whether somebody has built and tested it. */
  readonly state: 'checked' | 'unbuilt';
  /** The entry whose ctr image it goes on from with a Dockerfile of its own; null for one of the archive. */
  readonly derivedFrom: string | null;
  /** Whether it is that of builds that ask for none. */
  readonly standard: boolean;
  /** Everything it is made of, by exact version and hash, under the names of its `.env`. */
  readonly pins: Readonly<Record<string, string>>;
  /** Its VM image; null where this host has none, or a damaged one. */
  readonly image: Omit<EntrySummary, 'name'> | null;
};
