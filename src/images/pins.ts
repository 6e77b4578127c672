import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { KilnError } from '../model/error.ts';

const pinsSchema = z.object({
  BUILDKIT_VERSION: z.string(),
  BUILDKIT_REVISION: z.string().length(40),
  BUILDKIT_MODULE_HASH: z.string().startsWith('h1:'),
  RUNC_VERSION: z.string(),
  RUNC_COMMIT: z.string(),
  RUNC_MODULE_HASH: z.string().startsWith('h1:'),
  GO_TOOLCHAIN: z.string().startsWith('go'),
  GO_TOOLCHAIN_HASH_AMD64: z.string().startsWith('h1:'),
  BASE_IMAGE: z.string(),
  GO_IMAGE: z.string(),
  KERNEL_PACKAGE: z.string(),
  DEBIAN_SUITE: z.string(),
  DEBIAN_KERNEL_PACKAGE: z.string(),
});

/** Everything an archive entry is made of, by exact version and hash: its folder's `.env`. */
export type Pins = z.infer<typeof pinsSchema>;

/** @param entry Such as `buildkit-v0.20.2`. @throws KilnError CONFIG_INVALID */
export async function readPins(imagesDirectory: string, entry: string): Promise<Pins> {
  const path = join(imagesDirectory, entry.replace('-', '/'), '.env');
  return parsePins(await readFile(path, 'utf8'), path);
}

export function parsePins(text: string, path: string): Pins {
  const lines = text.split('\n').filter((line) => /^[A-Z]/.test(line));
  const parsed = pinsSchema.safeParse(Object.fromEntries(lines.map(splitLine)));
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new KilnError('CONFIG_INVALID', `${path}: ${issue?.path.join('.')}: ${issue?.message}.`);
}

function splitLine(line: string): [name: string, value: string] {
  const at = line.indexOf('=');
  return [line.slice(0, at), line.slice(at + 1)];
}
