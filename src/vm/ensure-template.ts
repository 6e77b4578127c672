import { mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { type FileSeal, fileSealSchema, isSealed, looksSealed, sealFile } from '../lib/file-seal.ts';
import { removeQuietly } from '../lib/files.ts';
import { makeTemplate } from './make-template.ts';
import { type Template, type TemplateFiles, type TemplateRequest, templateFiles } from './template.ts';
import { readHostProcessor, templateKey } from './template-key.ts';

const parts = ['ram', 'state', 'disk', 'overlay'] as const;

const manifestSchema = z.object({
  hostKey: z.string().startsWith('ssh-ed25519 '),
  files: z.record(z.enum(parts), fileSealSchema),
});
type Manifest = z.infer<typeof manifestSchema>;

export type EnsuredTemplate = {
  readonly template: Template;
  /** Whether every byte of it was read and found as it was made. Otherwise it only looks so: see `isIntact`. */
  readonly checked: boolean;
};

/**
 * Returns the template of this image on this host: the one on disk when it looks unchanged, else a new one.
 * Templates of its entry with other keys are removed: nothing can start from them any more.
 */
export async function ensureTemplate(
  request: TemplateRequest,
  signal: AbortSignal,
): Promise<EnsuredTemplate> {
  const { image, authorizedKey, setup, progress } = request;
  const key = templateKey(request, await readHostProcessor());
  const directory = join(setup.templatesDirectory, image.entry);
  const files = templateFiles(join(directory, key));
  await mkdir(directory, { recursive: true, mode: 0o711 });
  await removeAllBut(directory, [key]);
  const describe = (hostKey: string): Template => ({ key, image, authorizedKey, files, hostKey });
  const kept = await readManifest(files);
  if (kept && (await allParts(files, kept, looksSealed))) {
    progress('template  there already');
    return { template: describe(kept.hostKey), checked: false };
  }
  if (kept && (await allParts(files, kept, (path, seal) => isSealed(path, seal, signal)))) {
    // A copy of the data folder: the same bytes in other files.
    await writeManifest(files, kept.hostKey, signal);
    progress('template  checked');
    return { template: describe(kept.hostKey), checked: true };
  }
  signal.throwIfAborted();
  await removeQuietly(files.directory);
  const hostKey = await makeTemplate(request, files, signal);
  await writeManifest(files, hostKey, signal);
  return { template: describe(hostKey), checked: true };
}

/** Reads every byte of a template: seconds. @throws only the signal's reason. */
export async function isIntact({ files }: Template, signal: AbortSignal): Promise<boolean> {
  const manifest = await readManifest(files);
  return manifest !== null && allParts(files, manifest, (path, seal) => isSealed(path, seal, signal));
}

/** Removes a template; the next `ensureTemplate` makes another. VMs that run go on with the files they have open. */
export async function discardTemplate({ files }: Template): Promise<void> {
  await removeQuietly(files.directory);
}

/** Removes whatever is in the templates' folder and is none of these entries': it would stay there for ever. */
export function removeForeignTemplates(directory: string, entries: readonly string[]): Promise<void> {
  return removeAllBut(directory, entries);
}

async function removeAllBut(directory: string, kept: readonly string[]): Promise<void> {
  const others = (await readdir(directory)).filter((name) => !kept.includes(name));
  await Promise.all(others.map((name) => removeQuietly(join(directory, name))));
}

/** Null where there is no finished template. */
async function readManifest(files: TemplateFiles): Promise<Manifest | null> {
  try {
    return manifestSchema.parse(JSON.parse(await readFile(manifestPath(files), 'utf8')));
  } catch {
    return null;
  }
}

/** A file that cannot be read is not what it was. */
async function allParts(
  files: TemplateFiles,
  manifest: Manifest,
  holds: (path: string, seal: FileSeal) => Promise<boolean>,
): Promise<boolean> {
  const found = await Promise.all(
    parts.map((part) => holds(files[part], manifest.files[part]).catch(() => false)),
  );
  return found.every((one) => one);
}

/** Written last: a template without its manifest was never finished. */
async function writeManifest(files: TemplateFiles, hostKey: string, signal: AbortSignal): Promise<void> {
  const temporary = `${manifestPath(files)}.new`;
  const [ram, state, disk, overlay] = await Promise.all([
    sealFile(files.ram, signal),
    sealFile(files.state, signal),
    sealFile(files.disk, signal),
    sealFile(files.overlay, signal),
  ]);
  const manifest: Manifest = { hostKey, files: { ram, state, disk, overlay } };
  await writeFile(temporary, JSON.stringify(manifest));
  await rename(temporary, manifestPath(files));
}

function manifestPath(files: TemplateFiles): string {
  return join(files.directory, 'template.json');
}
