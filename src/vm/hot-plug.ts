import { chown } from 'node:fs/promises';
import { dirname } from 'node:path';
import { KilnError } from '../model/error.ts';
import { hotPlugPorts } from './qemu-arguments.ts';
import type { ProcessUser } from './qemu-process.ts';
import type { QmpClient } from './qmp.ts';
import type { PluggedDisk } from './vm.ts';

/** Bulk data goes into and out of a VM as disks: many times faster than through ssh, and of known size. */
export function createHotPlug(options: {
  qmp: QmpClient;
  directory: string;
  user: ProcessUser;
}): (disk: PluggedDisk, signal: AbortSignal) => Promise<void> {
  const { qmp, directory, user } = options;
  const freePorts: string[] = [...hotPlugPorts];
  return async ({ file, serial, readOnly }, signal) => {
    if (dirname(file) !== directory) throw new KilnError('INTERNAL', `${file} is not in the VM's directory.`);
    const port = freePorts.shift();
    if (port === undefined) throw new KilnError('INTERNAL', 'The VM has no free port for another disk.');
    if (user) await chown(file, user.uid, user.gid);
    await qmp.execute(
      'blockdev-add',
      {
        driver: 'raw',
        'node-name': serial,
        'read-only': readOnly,
        file: { driver: 'file', filename: file, 'read-only': readOnly },
      },
      signal,
    );
    await qmp.execute(
      'device_add',
      { driver: 'virtio-blk-pci', drive: serial, serial, bus: port, id: `disk-${serial}` },
      signal,
    );
  };
}
