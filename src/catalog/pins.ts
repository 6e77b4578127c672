import { z } from 'zod';
import { KilnError } from '../model/error.ts';

const moduleHash = z.string().regex(/^h1:[A-Za-z0-9+/]{43}=$/);

const pinsSchema = z.object({
  BUILDKIT_VERSION: z.string(),
  /** Empty where nothing tells it. It is only what the programs say of themselves: what they are made of is the module's hash. */
  BUILDKIT_REVISION: z.string().regex(/^([0-9a-f]{40})?$/),
  BUILDKIT_MODULE_HASH: moduleHash,
  RUNC_VERSION: z.string(),
  /** As the release stamps it; empty where nothing tells it. */
  RUNC_COMMIT: z.string(),
  RUNC_MODULE_HASH: moduleHash,
  GO_TOOLCHAIN: z.string().startsWith('go'),
  GO_TOOLCHAIN_HASH_AMD64: moduleHash,
  BASE_IMAGE: z.string(),
  GO_IMAGE: z.string(),
  KERNEL_PACKAGE: z.string(),
  DEBIAN_SUITE: z.string(),
  DEBIAN_KERNEL_PACKAGE: z.string(),
});

const fileSchema = pinsSchema.extend({
  /** `checked`: built from these pins, booted and tested. `unbuilt`: nobody has tried yet. */
  STATE: z.enum(['checked', 'unbuilt']),
});

/** Everything an archive entry is made of, by exact version and hash. */
export type Pins = z.infer<typeof pinsSchema>;

export type EntryState = z.infer<typeof fileSchema>['STATE'];

/** The `.env` of an entry's folder. @param path For what is said of it. @throws KilnError CONFIG_INVALID */
export function parsePins(text: string, path: string): { pins: Pins; state: EntryState } {
  const lines = text.split('\n').filter((line) => /^[A-Z]/.test(line));
  const parsed = fileSchema.safeParse(Object.fromEntries(lines.map(splitLine)));
  if (parsed.success) {
    // The state is no pin: an image stays the same when it has been checked.
    const { STATE: state, ...pins } = parsed.data;
    return { pins, state };
  }
  const [issue] = parsed.error.issues;
  throw new KilnError('CONFIG_INVALID', `${path}: ${issue?.path.join('.')}: ${issue?.message}.`);
}

function splitLine(line: string): [name: string, value: string] {
  const at = line.indexOf('=');
  return [line.slice(0, at), line.slice(at + 1)];
}
