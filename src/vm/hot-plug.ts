import { KilnError } from '../model/error.ts';
import { diskErrors, hotPlugPorts } from './qemu-arguments.ts';
import type { QmpClient } from './qmp.ts';
import type { Vm } from './vm.ts';
import type { VmFolder } from './vm-folder.ts';

/** Bulk data goes into and out of a VM as disks: many times faster than through ssh, and of known size. */
export function createHotPlug(qmp: QmpClient, folder: VmFolder): Pick<Vm, 'plugFile' | 'plugBlank'> {
  const freePorts: string[] = [...hotPlugPorts];
  const takePort = (): string => {
    const port = freePorts.shift();
    if (port === undefined) throw new KilnError('INTERNAL', 'The VM has no free port for another disk.');
    return port;
  };
  return {
    async plugFile({ serial, source }, signal) {
      const port = takePort();
      const file = await folder.addReadOnly(serial, source);
      await plug(qmp, { file, serial, readOnly: true, port }, signal);
    },
    async plugBlank({ serial, bytes }, signal) {
      const port = takePort();
      const file = await folder.addBlank(serial, bytes);
      await plug(qmp, { file, serial, readOnly: false, port }, signal);
      return { moveTo: (destination) => folder.moveOut(serial, destination) };
    },
  };
}

type Disk = {
  readonly file: string;
  readonly serial: string;
  readonly readOnly: boolean;
  readonly port: string;
};

async function plug(
  qmp: QmpClient,
  { file, serial, readOnly, port }: Disk,
  signal: AbortSignal,
): Promise<void> {
  const source = { driver: 'file', filename: file, 'read-only': readOnly };
  const block = { driver: 'raw', 'node-name': serial, 'read-only': readOnly, file: source };
  await qmp.execute('blockdev-add', block, signal);
  const id = `disk-${serial}`;
  const device = { driver: 'virtio-blk-pci', drive: serial, serial, bus: port, id, ...diskErrors };
  await qmp.execute('device_add', device, signal);
}
