import { createHash } from 'node:crypto';
import { readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { removeQuietly } from '../lib/files.ts';
import { hashFile } from '../lib/hash.ts';
import { makeTemplate } from './make-template.ts';
import { qemuArguments } from './qemu-arguments.ts';
import {
  commonMachineOptions,
  type Template,
  type TemplateFiles,
  type TemplateRequest,
  templateFiles,
} from './template.ts';

const parts = ['ram', 'state', 'disk', 'overlay'] as const;

const manifestSchema = z.object({
  hostKey: z.string().startsWith('ssh-ed25519 '),
  sha256: z.record(z.enum(parts), z.string()),
});

/**
 * Returns the template of this image on this host: the one on disk when every file of it is unchanged, else a new one.
 * Templates with other keys are removed: nothing can start from them any more.
 */
export async function ensureTemplate(request: TemplateRequest, signal: AbortSignal): Promise<Template> {
  const { image, authorizedKey, setup, progress } = request;
  const key = templateKey(request);
  const files = templateFiles(join(setup.templatesDirectory, key));
  await removeOthers(setup.templatesDirectory, key);
  const kept = await readKeptHostKey(files, signal);
  if (kept) {
    progress('template  checked');
    return { key, image, authorizedKey, files, hostKey: kept };
  }
  await removeQuietly(files.directory);
  const hostKey = await makeTemplate(request, files, signal);
  await writeManifest(files, hostKey, signal);
  return { key, image, authorizedKey, files, hostKey };
}

/** A clone must be the template's twin: same QEMU, same machine, same image; and its guest must be prepared as we would now. */
function templateKey(request: TemplateRequest): string {
  const machine = qemuArguments({
    ...commonMachineOptions(request, 'ID'),
    disk: 'DISK',
    ram: { path: 'RAM', mapping: 'private' },
    console: 'ring',
    incoming: true,
  });
  const inputs = [
    request.image.digest,
    request.setup.qemu.version,
    request.setup.users.template,
    request.setup.diskBytes,
    machine,
    request.preparation.fingerprint,
    // Its state is that of the processor it ran on: data that moved to another machine makes another.
    ...(request.setup.processor.accelerator === 'kvm' ? [cpus()[0]?.model] : []),
  ];
  return createHash('sha256').update(JSON.stringify(inputs)).digest('hex').slice(0, 32);
}

async function removeOthers(directory: string, key: string): Promise<void> {
  const others = (await readdir(directory)).filter((name) => name !== key);
  await Promise.all(others.map((name) => removeQuietly(join(directory, name))));
}

/** The host key of a complete, unchanged template; null where there is none. */
async function readKeptHostKey(files: TemplateFiles, signal: AbortSignal): Promise<string | null> {
  try {
    const manifest = manifestSchema.parse(JSON.parse(await readFile(manifestPath(files), 'utf8')));
    const sums = await hashParts(files, signal);
    return parts.every((part) => sums[part] === manifest.sha256[part]) ? manifest.hostKey : null;
  } catch {
    signal.throwIfAborted();
    return null;
  }
}

/** Written last: a template without its manifest was never finished. */
async function writeManifest(files: TemplateFiles, hostKey: string, signal: AbortSignal): Promise<void> {
  const temporary = `${manifestPath(files)}.new`;
  await writeFile(temporary, JSON.stringify({ hostKey, sha256: await hashParts(files, signal) }));
  await rename(temporary, manifestPath(files));
}

function manifestPath(files: TemplateFiles): string {
  return join(files.directory, 'template.json');
}

async function hashParts(
  files: TemplateFiles,
  signal: AbortSignal,
): Promise<Record<(typeof parts)[number], string>> {
  const [ram, state, disk, overlay] = await Promise.all([
    hashFile(files.ram, signal),
    hashFile(files.state, signal),
    hashFile(files.disk, signal),
    hashFile(files.overlay, signal),
  ]);
  return { ram, state, disk, overlay };
}
