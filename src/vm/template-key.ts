import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { cpus, release, version } from 'node:os';
import { qemuArguments } from './qemu-arguments.ts';
import { commonMachineOptions, type TemplateRequest } from './template.ts';

/** What a guest that ran under KVM has seen of the host, in words that change with it. */
export type HostProcessor = readonly string[];

/**
 * Model of the processor, revision of its microcode, and the kernel, which decides what guests see of both. Distributions keep a
 * kernel's release over updates; its version names the build.
 */
export async function readHostProcessor(): Promise<HostProcessor> {
  const info = await readFile('/proc/cpuinfo', 'utf8');
  const microcode = /^microcode\s*:\s*(\S+)/m.exec(info)?.[1] ?? 'unknown';
  return [cpus()[0]?.model ?? 'unknown', microcode, `${release()} ${version()}`];
}

/** A clone must be the template's twin: same QEMU, same machine, same image; and its guest must be prepared as we would now. */
export function templateKey(request: TemplateRequest, hostProcessor: HostProcessor): string {
  const { image, setup, preparation } = request;
  const machine = qemuArguments({
    ...commonMachineOptions(request, 'ID'),
    // No guest sees it, and data folders may share a template.
    name: 'NAME',
    disk: 'DISK',
    ram: { path: 'RAM', mapping: 'private' },
    console: 'ring',
    incoming: true,
  });
  const inputs = [
    image.digest,
    setup.launcher.qemu.version,
    setup.users.template,
    setup.diskBytes,
    machine,
    preparation.fingerprint,
    // Its state is that of the processor it ran on: data that moved to another machine, or this one after an update, makes another.
    ...(setup.processor.accelerator === 'kvm' ? hostProcessor : []),
  ];
  return createHash('sha256').update(JSON.stringify(inputs)).digest('hex').slice(0, 32);
}
