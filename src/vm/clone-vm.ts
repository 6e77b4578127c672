import { join } from 'node:path';
import { v7 as uuid } from 'uuid';
import { withDeadline } from '../lib/abort.ts';
import { tryToRemove } from '../lib/files.ts';
import { KilnError } from '../model/error.ts';
import { opensRamReadOnly } from './find-qemu.ts';
import { findSsh } from './forwarded-port.ts';
import { createHotPlug } from './hot-plug.ts';
import type { ProcessUser, QemuProcess } from './launcher.ts';
import { loadState } from './migration.ts';
import { qemuArguments } from './qemu-arguments.ts';
import { commonMachineOptions, type Template } from './template.ts';
import type { FrozenVm, Vm, VmSetup } from './vm.ts';
import { createVmFolder, type VmFolder } from './vm-folder.ts';

/** A clone runs within a fraction of a second; this is for a machine that is thrashing. */
const cloneDeadlineMs = 30_000;

/**
 * Makes one more VM from the template, with its own overlay, its own copy-on-write view of the RAM and its own user. It stands where the
 * template stood until it is woken.
 */
export async function cloneVm(setup: VmSetup, template: Template, signal: AbortSignal): Promise<FrozenVm> {
  const id = uuid();
  const directory = join(setup.vmsDirectory, id);
  const { user, release } = setup.users.acquire();
  const destroy = async (qemu?: QemuProcess): Promise<void> => {
    const gone = qemu === undefined || (await qemu.kill());
    // A user whose files stay, or who may still run something, is not given to another VM. The next start removes them.
    if ((await tryToRemove(directory)) && gone) release();
  };
  let qemu: QemuProcess | undefined;
  try {
    const folder = await createVmFolder(directory, template.files.overlay, user);
    qemu = await startClone({ setup, template, id, folder, user }, signal);
    const running = qemu;
    const ssh = await command(running, signal, async (linked) => {
      await running.qmp.negotiate(linked);
      await loadState(running.qmp, linked);
      return await findSsh(running, linked);
    });
    const vm: Vm = {
      id,
      processor: setup.processor,
      ssh: { ...ssh, hostKey: template.hostKey },
      exited: running.exited,
      ...createHotPlug(running.qmp, folder),
      usedBytes: () => folder.usedBytes(),
      [Symbol.asyncDispose]: () => destroy(running),
    };
    return {
      id,
      exited: vm.exited,
      wake: (linked) =>
        command(running, linked, async (limited) => {
          await running.qmp.execute('cont', {}, limited);
          return vm;
        }),
      [Symbol.asyncDispose]: () => destroy(running),
    };
  } catch (error) {
    await destroy(qemu);
    throw error;
  }
}

function startClone(
  options: { setup: VmSetup; template: Template; id: string; folder: VmFolder; user: ProcessUser },
  signal: AbortSignal,
): Promise<QemuProcess> {
  const { setup, template, id, folder, user } = options;
  const { launcher } = setup;
  const { image, files } = template;
  const args = qemuArguments({
    ...commonMachineOptions({ setup, ...template }, id),
    disk: folder.disk,
    ram: { path: files.ram, mapping: opensRamReadOnly(launcher.qemu) ? 'private-readonly' : 'private' },
    console: 'ring',
    incoming: true,
  });
  const { path: directory } = folder;
  const reads = [files.directory];
  const { accelerator } = setup.processor;
  const request = { args, accelerator, image, user, directory, reads, stateFile: files.state };
  return launcher.start(request, signal);
}

/** What a clone is told on its monitor, until it has done it. A QEMU that does not is killed. */
function command<T>(
  qemu: QemuProcess,
  signal: AbortSignal,
  run: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const reason = (): Error =>
    new KilnError('INFRA', `A VM did not start within ${cloneDeadlineMs / 1000} s.`);
  return withDeadline({ ms: cloneDeadlineMs, signal, reason }, async (linked) => {
    try {
      return await run(linked);
    } catch (error) {
      linked.throwIfAborted();
      // The monitor's end alone says little; QEMU's last words say why. A refusal leaves it running.
      await qemu.kill();
      throw new KilnError('INFRA', `A VM could not be started: QEMU ${await qemu.exited}`, { cause: error });
    }
  });
}
