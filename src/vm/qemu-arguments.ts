import type { Accelerator } from '../model/build.ts';

/** What a guest runs on, and the processor it sees (QEMU's -cpu). */
export type Processor = { readonly accelerator: Accelerator; readonly model: string };

/** `max` offers all that QEMU can emulate, so images for x86-64-v2 and v3 run too; without the copies that are slow in emulation. */
export const emulatedProcessor: Processor = { accelerator: 'tcg', model: 'max,erms=off,fsrm=off' };

/** In the order to try them: hosts that are guests themselves may refuse to set the MSR of arch-capabilities. */
export const kvmProcessors: readonly [Processor, ...Processor[]] = [
  { accelerator: 'kvm', model: 'host' },
  { accelerator: 'kvm', model: 'host,arch-capabilities=off' },
];

/** One machine, as the command line of QEMU describes it. Template and clone differ in `ram`, `disk` and `incoming` alone. */
export type MachineOptions = {
  /** Shown in the process list; the sweep finds our processes by it. */
  readonly name: string;
  readonly processor: Processor;
  readonly cpus: number;
  readonly memoryMiB: number;
  readonly kernel: string;
  readonly initrd: string;
  readonly kernelCommandLine: string;
  readonly disk: string;
  /** How the RAM file is mapped: `shared` writes into it (template), `private` copies on write (clone). */
  readonly ram: { readonly path: string; readonly mapping: 'shared' | 'private' | 'private-readonly' };
  /** Where the serial console goes: a file, or memory of a fixed size that a hostile guest cannot fill. */
  readonly console: { readonly file: string } | 'ring';
  readonly incoming: boolean;
};

/** Ports for disks that are plugged into the running machine: the context and the artifact. */
export const hotPlugPorts = ['rp1', 'rp2'] as const;

/**
 * A host whose disk is full is an I/O error in the guest that writes. By default QEMU would stop that VM until somebody lets it
 * go on, and its build would hang.
 */
export const diskErrors = { werror: 'report', rerror: 'report' } as const;
const errorsOfDisks = Object.entries(diskErrors)
  .map((pair) => pair.join('='))
  .join(',');

const ramMappings = {
  shared: 'share=on',
  private: 'share=off',
  // QEMU 8.2 and later: the file itself is opened read-only, so not even a broken-out QEMU can alter the template.
  'private-readonly': 'share=off,readonly=on,rom=off',
};

/**
 * Flags and their reasons: ../../ARCHITECTURE.md, "The VM". The guest has one network device, and through it no
 * way anywhere (restrict=on); the kernel picks the host port of its ssh (port 0), so two VMs cannot race for one.
 */
export function qemuArguments(machine: MachineOptions): string[] {
  return [
    ...['-name', machine.name, '-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot'],
    ...['-sandbox', 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny'],
    ...processorArguments(machine.processor),
    ...['-machine', 'q35,memory-backend=ram', '-smp', `${machine.cpus}`, '-m', `${machine.memoryMiB}M`],
    ...['-object', ramObject(machine)],
    ...['-kernel', machine.kernel, '-initrd', machine.initrd, '-append', machine.kernelCommandLine],
    ...[
      '-drive',
      `if=none,id=root,file=${escapeComma(machine.disk)},format=qcow2,discard=unmap,${errorsOfDisks}`,
    ],
    ...['-device', 'virtio-blk-pci,drive=root'],
    ...['-netdev', 'user,id=net,restrict=on,ipv6=off,hostfwd=tcp:127.0.0.1:0-:22'],
    ...['-device', 'virtio-net-pci,netdev=net,romfile='],
    ...hotPlugPorts.flatMap((id, index) => ['-device', `pcie-root-port,id=${id},chassis=${index + 1}`]),
    ...['-device', 'virtio-rng-pci', '-device', 'vmgenid,guid=auto'],
    ...['-chardev', consoleDevice(machine.console), '-serial', 'chardev:console'],
    ...['-chardev', 'stdio,id=qmp,signal=off', '-mon', 'chardev=qmp,mode=control'],
    ...(machine.incoming ? ['-incoming', 'defer'] : []),
  ];
}

export function processorArguments({ accelerator, model }: Processor): string[] {
  return ['-accel', accelerator === 'tcg' ? 'tcg,thread=multi' : 'kvm', '-cpu', model];
}

function ramObject({ ram, memoryMiB }: MachineOptions): string {
  const file = `mem-path=${escapeComma(ram.path)},${ramMappings[ram.mapping]}`;
  return `memory-backend-file,id=ram,size=${memoryMiB}M,${file}`;
}

function consoleDevice(console: MachineOptions['console']): string {
  return console === 'ring'
    ? 'ringbuf,id=console,size=65536'
    : `file,id=console,path=${escapeComma(console.file)}`;
}

/** In QEMU's option lists a comma ends a value; doubled it is one. */
function escapeComma(text: string): string {
  return text.replaceAll(',', ',,');
}
