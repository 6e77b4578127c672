import {
  chmod,
  chown,
  constants,
  copyFile,
  type FileHandle,
  link,
  mkdir,
  open,
  rename,
  stat,
} from 'node:fs/promises';
import { join } from 'node:path';
import type { ProcessUser } from './launcher.ts';

/**
 * The folder of one VM. It is kiln's: QEMU's user opens the files in it, and can neither add, rename nor remove a name. So no
 * name here can be turned into a link to another file of the host while root works with it. Other VMs' users cannot look in.
 */
export type VmFolder = {
  readonly path: string;
  /** The VM's own disk, a qcow2 that QEMU writes. */
  readonly disk: string;
  /**
   * Adds a second name of the file `source`, on the same file system, which QEMU may read and not write: another VM may need
   * it after this one.
   * @returns its path.
   */
  addReadOnly(name: string, source: string): Promise<string>;
  /** Adds a sparse file of this size that QEMU may write. @returns its path. */
  addBlank(name: string, bytes: number): Promise<string>;
  /** Moves a file out, on the same file system. QEMU may go on writing into it until the VM is gone. */
  moveOut(name: string, destination: string): Promise<void>;
  /** How much of the host's disk QEMU takes by what it has written here; 0 once the folder is gone. */
  usedBytes(): Promise<number>;
};

/** @param overlay What the VM's disk starts as. */
export async function createVmFolder(path: string, overlay: string, user: ProcessUser): Promise<VmFolder> {
  await mkdir(path, { mode: 0o700 });
  if (user) {
    // The group is that of this VM's user alone, and may pass through.
    await chown(path, process.getuid?.() ?? 0, user.gid);
    await chmod(path, 0o710);
  }
  const disk = join(path, 'disk.qcow2');
  await copyFile(overlay, disk, constants.COPYFILE_EXCL);
  await using handle = await openPlainFile(disk);
  await handle.chmod(0o600);
  if (user) await handle.chown(user.uid, user.gid);
  const written = [disk];
  return {
    path,
    disk,
    async addReadOnly(name, source) {
      const file = join(path, name);
      await link(source, file);
      await using linked = await openPlainFile(file);
      // Whoever gets into a folder that has it may read it: several VMs may have it at once, each its own name of it.
      await linked.chmod(0o444);
      return file;
    },
    async addBlank(name, bytes) {
      const file = join(path, name);
      written.push(file);
      await using blank = await open(file, 'wx', 0o600);
      await blank.truncate(bytes);
      if (user) await blank.chown(user.uid, user.gid);
      return file;
    },
    moveOut: (name, destination) => rename(join(path, name), destination),
    async usedBytes() {
      const sizes = await Promise.all(written.map(usedBytesOf));
      return sizes.reduce((sum, bytes) => sum + bytes, 0);
    },
  };
}

/** 0 for a file that was moved out. */
async function usedBytesOf(file: string): Promise<number> {
  const stats = await stat(file).catch(() => null);
  return stats ? stats.blocks * 512 : 0;
}

/** What is handed to another user is this very file, never what a link names. */
async function openPlainFile(path: string): Promise<FileHandle> {
  const handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  if ((await handle.stat()).isFile()) return handle;
  await handle.close();
  throw new Error(`${path} is not a plain file.`);
}
