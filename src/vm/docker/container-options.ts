import { statSync } from 'node:fs';
import type { ContainerCreateOptions, MountSettings } from 'dockerode';
import type { Accelerator } from '../../model/build.ts';
import type { ProcessUser } from '../launcher.ts';

/** Every container of an installation has it, with the installation's id; the sweep goes by nothing else. */
export const installationLabel = 'kiln.installation';

/** What containers may take. */
export type ContainerLimits = {
  readonly cpus: number;
  readonly memoryMiB: number;
};

export type ContainerRequest = {
  readonly installation: string;
  readonly name: string;
  /** The id of a dqd image. */
  readonly image: string;
  readonly command: readonly string[];
  readonly user: ProcessUser;
  readonly limits: ContainerLimits;
  readonly accelerator: Accelerator;
  /** QEMU's folder, which it may write in as far as the files' modes go. */
  readonly directory: string | null;
  readonly reads: readonly string[];
  /** Whether /run/vm is a small folder to write in. */
  readonly scratch: boolean;
};

/** QEMU's threads, and a few processes that carry connections. */
const maxProcesses = 256;
const device = '/dev/kvm';

/**
 * A container that has nothing: no network, no capability, no file to write but those of its folder, no way to gain
 * privileges. What it prints is kept as far as its last words.
 */
export function containerOptions(request: ContainerRequest): ContainerCreateOptions & { name: string } {
  const { installation, name, image, command, user, limits, accelerator, directory, reads, scratch } =
    request;
  const [program = '', ...args] = command;
  const memory = limits.memoryMiB * 1024 * 1024;
  const usesKvm = accelerator === 'kvm';
  const groups = [
    ...(user?.group === undefined ? [] : [user.group]),
    ...(usesKvm ? [statSync(device).gid] : []),
  ];
  const bind = (path: string, readOnly: boolean): MountSettings => ({
    ...{ Type: 'bind', Source: path, Target: path, ReadOnly: readOnly },
  });
  return {
    ...{ name, Image: image, Entrypoint: [program], Cmd: args },
    Labels: { [installationLabel]: installation },
    User: user ? `${user.uid}:${user.gid}` : `${process.getuid?.() ?? 0}:${process.getgid?.() ?? 0}`,
    WorkingDir: directory ?? '/',
    ...{ AttachStdout: true, AttachStderr: true, Tty: false, OpenStdin: false },
    // kiln sees at once when a VM is gone; asking each of them now and then would only cost time.
    Healthcheck: { Test: ['NONE'] },
    HostConfig: {
      ...{ NetworkMode: 'none', IpcMode: 'none', ReadonlyRootfs: true, CapDrop: ['ALL'] },
      SecurityOpt: ['no-new-privileges'],
      GroupAdd: groups.map(String),
      Mounts: [
        ...reads.map((path) => bind(path, true)),
        ...(directory === null ? [] : [bind(directory, false)]),
      ],
      // In place of the volume that the image has for those who run it by hand.
      Tmpfs: { '/run/vm': scratch ? 'size=4m,mode=1777' : 'size=64k,mode=0555' },
      ...(usesKvm
        ? { Devices: [{ PathOnHost: device, PathInContainer: device, CgroupPermissions: 'rw' }] }
        : {}),
      // No swap beside the memory.
      ...{ NanoCpus: limits.cpus * 1e9, Memory: memory, MemorySwap: memory, PidsLimit: maxProcesses },
      Ulimits: [{ Name: 'core', Soft: 0, Hard: 0 }],
      LogConfig: { Type: 'json-file', Config: { 'max-size': '64k', 'max-file': '1' } },
      RestartPolicy: { Name: 'no' },
    },
  };
}
