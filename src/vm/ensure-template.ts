import { mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { removeQuietly } from '../lib/files.ts';
import { SealedFiles } from '../lib/sealed-files.ts';
import { makeTemplate } from './make-template.ts';
import { type Template, type TemplateFiles, type TemplateRequest, templateFiles } from './template.ts';
import { readHostProcessor, templateKey } from './template-key.ts';
import type { VmSetup } from './vm.ts';

const parts = ['ram', 'state', 'disk', 'overlay'] as const;

const manifestSchema = z.object({
  hostKey: z.string().startsWith('ssh-ed25519 '),
  files: z.record(z.enum(parts), z.object({ sha256: z.string() })),
});
type Manifest = z.infer<typeof manifestSchema>;

/**
 * Returns the template of this image on this host: the one on disk when it looks unchanged, else a new one.
 */
export async function ensureTemplate(request: TemplateRequest, signal: AbortSignal): Promise<Template> {
  const { image, authorizedKey, setup, progress } = request;
  const key = templateKey(request, await readHostProcessor());
  const directory = join(setup.templatesDirectory, image.entry);
  const files = templateFiles(join(directory, key));
  await mkdir(directory, { recursive: true, mode: 0o711 });
  const common = { key, image, authorizedKey, files };
  const manifest = await readManifest(files);
  if (manifest) {
    const hashes = parts.map((part) => [files[part], manifest.files[part].sha256] as const);
    const sealed = new SealedFiles(Object.fromEntries(hashes), { record: sealsPath(files) });
    if ((await sealed.look(signal)) === null) {
      progress(`template  ${sealed.checked ? 'checked' : 'there already'}`);
      return { ...common, hostKey: manifest.hostKey, sealed };
    }
  }
  signal.throwIfAborted();
  await removeQuietly(files.directory);
  const hostKey = await makeTemplate(request, files, signal);
  const paths = parts.map((part) => files[part]);
  const sealed = await SealedFiles.seal(paths, sealsPath(files), signal);
  await writeManifest(files, hostKey, sealed);
  return { ...common, hostKey, sealed };
}

/** Removes a template; the next `ensureTemplate` makes another. VMs that run go on with the files they have open. */
export async function discardTemplate({ files }: Template): Promise<void> {
  await removeQuietly(files.directory);
}

/** Removes whatever is in the templates' folder and is none of these entries': it would stay there for ever. */
export function removeForeignTemplates(directory: string, entries: readonly string[]): Promise<void> {
  return removeAllBut(directory, entries);
}

/** Removes the templates of an entry but those with these keys: nothing starts from them any more. VMs that run go on with the files they have open. */
export function removeOldTemplates(
  { templatesDirectory }: Pick<VmSetup, 'templatesDirectory'>,
  entry: string,
  keys: readonly string[],
): Promise<void> {
  return removeAllBut(join(templatesDirectory, entry), keys);
}

/** Never rejects: an image serves, whether or not what served before it can be removed now. */
async function removeAllBut(directory: string, kept: readonly string[]): Promise<void> {
  const names = await readdir(directory).catch((cause: unknown) => {
    process.emitWarning(new Error(`Old templates in ${directory} could not be removed.`, { cause }));
    return [];
  });
  const others = names.filter((name) => !kept.includes(name));
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

/** Written last: a template without its manifest was never finished. */
async function writeManifest(files: TemplateFiles, hostKey: string, { hashes }: SealedFiles): Promise<void> {
  const described = parts.map((part) => [part, { sha256: hashes[files[part]] }]);
  const manifest = manifestSchema.parse({ hostKey, files: Object.fromEntries(described) });
  const temporary = `${manifestPath(files)}.new`;
  await writeFile(temporary, JSON.stringify(manifest));
  await rename(temporary, manifestPath(files));
}

function manifestPath(files: TemplateFiles): string {
  return join(files.directory, 'template.json');
}

function sealsPath(files: TemplateFiles): string {
  return join(files.directory, 'seals.json');
}
