import { z } from 'zod';
import type { TerminalState, Verdict } from './build.ts';

/** What an administrator asks for: the VM image of an archive entry made anew, checked, and served from then on. */
export const rebuildSchema = z
  .strictObject({
    entry: z.string().max(128, 'is too long').meta({ description: 'Such as buildkit-v0.20.2 or v0.20.2.' }),
    version: z
      .string()
      .regex(/^v\d{1,6}\.\d{1,6}\.\d{1,6}$/, 'must be like v0.1.0')
      .optional()
      .meta({ description: 'Of the image. Default: the next one.' }),
    dryRun: z.boolean().default(false).meta({ description: 'Say what would be done, and do nothing.' }),
  })
  .meta({ id: 'RebuildRequest' });

export type RebuildRequest = z.output<typeof rebuildSchema>;

/** In their order: the image is made, boots and is looked at in a VM, and serves. */
export const rebuildSteps = ['image', 'check', 'roll'] as const;
export const stepStates = ['waiting', 'running', 'done', 'failed', 'skipped'] as const;

export type Step = {
  readonly name: (typeof rebuildSteps)[number];
  readonly state: (typeof stepStates)[number];
  /** RFC 3339. */
  readonly started: string | null;
  readonly ended: string | null;
};

/**
 * A durable piece of work for the whole host, in named steps, with a record, a log and events as a build has them. It ends once; what did
 * not succeed is resumed by another operation, which finds in the caches what was made.
 */
export type Operation = {
  readonly id: string;
  readonly kind: 'rebuild';
  /** With the full name of the entry, and the version it makes. */
  readonly request: RebuildRequest & { readonly version: string };
  readonly state: 'running' | TerminalState;
  readonly steps: readonly Step[];
  /** RFC 3339. */
  readonly started: string;
  readonly ended: string | null;
  readonly verdict: Verdict | null;
  /** The image, once it is made. */
  readonly image: { readonly digest: string; readonly versions: Readonly<Record<string, string>> } | null;
  /** The operation that this one goes on with. */
  readonly resumes: string | null;
};
