import { KilnError } from '../model/error.ts';
import type { QemuProcess } from './launcher.ts';
import type { SshEndpoint } from './vm.ts';

/** The way to the guest's ssh, whose port the kernel chose (`hostfwd=tcp:127.0.0.1:0-:22`). */
export async function findSsh(
  { qmp, dial }: QemuProcess,
  signal: AbortSignal,
): Promise<Pick<SshEndpoint, 'open'>> {
  const port = parseForwardedPort(await qmp.executeHuman('info usernet', signal));
  return { open: (linked) => dial(port, linked) };
}

/** Reads lines such as `TCP[HOST_FORWARD]  12  127.0.0.1 45953  10.0.2.15  22  0  0` (QEMU 7.2 to 10). */
export function parseForwardedPort(table: string): number {
  const port = /TCP\[HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)\s+\S+\s+22\s/.exec(table)?.[1];
  if (port === undefined)
    throw new KilnError('INFRA', 'QEMU does not say which port it forwards to the guest.');
  return Number(port);
}
