import { chmod, chown, mkdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { withDeadline } from '../lib/abort.ts';
import { KilnError } from '../model/error.ts';
import { opensRamReadOnly } from './find-qemu.ts';
import { findSsh } from './forwarded-port.ts';
import type { QemuProcess } from './launcher.ts';
import { saveState } from './migration.ts';
import { qemuArguments } from './qemu-arguments.ts';
import { commonMachineOptions, type TemplateFiles, type TemplateRequest } from './template.ts';

/** A cold boot under emulation on a busy machine takes about a minute; a guest that takes this long never comes. */
const bootDeadlineMs = 600_000;
const consolePollMs = 100;

/**
 * Boots the image once, has it prepared, and keeps its RAM and device state in `files`.
 * @returns the guest's ssh host key.
 */
export async function makeTemplate(
  request: TemplateRequest,
  files: TemplateFiles,
  signal: AbortSignal,
): Promise<string> {
  const { progress } = request;
  const started = performance.now();
  progress('template  booting the VM image (once per image and host) …');
  const consoleFile = join(files.directory, 'console.log');
  await createFiles(request, files, consoleFile, signal);
  const qemu = await startTemplate(request, { files, consoleFile }, signal);
  try {
    const reason = (): Error =>
      new KilnError('INFRA', `The VM image was not ready within ${bootDeadlineMs / 1000} s.`);
    const hostKey = await withDeadline({ ms: bootDeadlineMs, signal, reason }, (linked) =>
      Promise.race([bootAndSave(qemu, { request, files, consoleFile }, linked), throwOnExit(qemu)]),
    );
    await quit(qemu, signal);
    await seal(request, files);
    progress(`template  made in ${((performance.now() - started) / 1000).toFixed(0)} s`);
    return hostKey;
  } catch (error) {
    throw signal.aborted ? error : await withConsole(error, consoleFile);
  } finally {
    await qemu.kill();
    await rm(consoleFile, { force: true });
  }
}

async function createFiles(
  { image, setup }: TemplateRequest,
  files: TemplateFiles,
  consoleFile: string,
  signal: AbortSignal,
): Promise<void> {
  await mkdir(files.directory, { mode: 0o711 });
  const { launcher, diskBytes: bytes } = setup;
  // At once of the size that they shall have: the guest's file system takes it when the guest is prepared.
  await launcher.createOverlay({ image, backing: image.disk, overlay: files.disk, bytes }, signal);
  await launcher.createOverlay({ image, backing: files.disk, overlay: files.overlay, bytes }, signal);
  await writeFile(files.ram, '', { mode: 0o600 });
  await truncate(files.ram, setup.memoryMiB * 1024 * 1024);
  await writeFile(consoleFile, '', { mode: 0o600 });
  const user = setup.users.template;
  if (!user) return;
  await Promise.all([files.disk, files.ram, consoleFile].map((file) => chown(file, user.uid, user.gid)));
}

function startTemplate(
  request: TemplateRequest,
  { files, consoleFile }: { files: TemplateFiles; consoleFile: string },
  signal: AbortSignal,
): Promise<QemuProcess> {
  const { setup, image } = request;
  const args = qemuArguments({
    ...commonMachineOptions(request, 'template'),
    disk: files.disk,
    ram: { path: files.ram, mapping: 'shared' },
    console: { file: consoleFile },
    incoming: false,
  });
  const { directory } = files;
  const user = setup.users.template;
  const { accelerator } = setup.processor;
  return setup.launcher.start({ args, accelerator, image, user, directory, reads: [] }, signal);
}

async function bootAndSave(
  qemu: QemuProcess,
  { request, files, consoleFile }: { request: TemplateRequest; files: TemplateFiles; consoleFile: string },
  signal: AbortSignal,
): Promise<string> {
  const { setup, preparation, progress } = request;
  const { qmp } = qemu;
  await qmp.negotiate(signal);
  const ssh = await findSsh(qemu, signal);
  const hostKey = await waitForHostKey(consoleFile, signal);
  progress('template  booted, preparing its buildkitd …');
  await preparation.prepare({ ...ssh, hostKey }, signal);
  await qmp.execute('stop', {}, signal);
  await saveState({ qmp, user: setup.users.template, file: files.state }, signal);
  return hostKey;
}

async function waitForHostKey(consoleFile: string, signal: AbortSignal): Promise<string> {
  for (;;) {
    const key = findHostKey(await readFile(consoleFile, 'latin1'));
    if (key !== null) return key;
    await sleep(consolePollMs, undefined, { signal });
  }
}

async function throwOnExit(qemu: QemuProcess): Promise<never> {
  throw new KilnError('INFRA', `The VM image did not boot: QEMU ${await qemu.exited}`);
}

/** The key on a whole line: the console may be read while the line is still being written. */
export function findHostKey(console: string): string | null {
  return /^kiln-host-key (ssh-ed25519 [A-Za-z0-9+/=]+)\r?\n/m.exec(console)?.[1] ?? null;
}

/** `quit` writes qcow2 metadata to disk; a kill would lose it. */
async function quit(qemu: QemuProcess, signal: AbortSignal): Promise<void> {
  await qemu.qmp.execute('quit', {}, signal);
  await qemu.exited;
}

/** From here on nobody but kiln may write the template; where QEMU can, clones open even the RAM read-only. */
async function seal({ setup }: TemplateRequest, files: TemplateFiles): Promise<void> {
  const user = setup.users.template;
  const { disk, ram, state } = files;
  if (user) await Promise.all([disk, ram, state].map((file) => chown(file, 0, user.gid)));
  await Promise.all([chmod(disk, 0o644), chmod(files.overlay, 0o644), chmod(state, 0o440)]);
  await chmod(ram, opensRamReadOnly(setup.launcher.qemu) ? 0o440 : 0o660);
}

async function withConsole(error: unknown, consoleFile: string): Promise<KilnError> {
  const { code, message } = KilnError.from(error);
  const tail = (await readFile(consoleFile, 'latin1').catch(() => ''))
    .trim()
    .split('\n')
    .slice(-15)
    .join('\n');
  return new KilnError(code, tail ? `${message}\nLast lines of the guest's console:\n${tail}` : message, {
    cause: error,
  });
}
