import { join } from 'node:path';
import type { Config } from './config/config.ts';
import { type HostOptions, type HostSetup, prepareDqdImage } from './host-setup.ts';
import { imageInside, parseDqdImages, vmFolder } from './images/dqd-image.ts';
import { findMadeDqd } from './images/find-made-dqd.ts';
import type { MadeImages } from './images/made-images.ts';
import type { Logger } from './lib/logger.ts';
import type { VmImage } from './model/vm-image.ts';
import { type AcceleratorChoice, chooseAccelerator, createKvmProbe } from './vm/accelerator.ts';
import { Containers } from './vm/docker/containers.ts';
import { createDockerLauncher } from './vm/docker/docker-launcher.ts';
import { connectDocker } from './vm/docker/engine.ts';
import { loadImage, requireImage } from './vm/docker/load-image.ts';
import { requireVmImage } from './vm/docker/require-vm-image.ts';
import { unloadImage } from './vm/docker/unload-image.ts';
import { findQemu, opensRamReadOnly } from './vm/find-qemu.ts';
import { createHangMemory } from './vm/hang-memory.ts';
import type { Launcher } from './vm/launcher.ts';
import { createProcessLauncher } from './vm/process-launcher.ts';

/** How this service starts QEMU, and the VM images under the paths that QEMU finds them. */
export type Driver = {
  readonly launcher: Launcher;
  /** That of builds that ask for no entry. */
  readonly image: VmImage;
  readonly images: Images;
  /** Makes an image that was made later ready for this driver. */
  readonly load: (image: VmImage, signal: AbortSignal) => Promise<VmImage>;
  /** Forgets a dqd image, where there are any. */
  readonly unload: (reference: string) => Promise<void>;
};

/** By entry, how the image that this host has of it is opened. */
type Images = ReadonlyMap<string, (signal: AbortSignal) => Promise<VmImage>>;

type DriverOptions = HostOptions & {
  readonly config: Config;
  readonly host: HostSetup;
  readonly images: Images;
  /** What operations made. */
  readonly made: MadeImages;
  /** Of KILN_DRIVER=docker. */
  readonly containers: Containers | null;
  /** Where VMs have their folders. */
  readonly vmsDirectory: string;
};

/**
 * Connects to the Docker engine of KILN_DRIVER=docker, and removes what an earlier run left there.
 * @throws KilnError CONFIG_INVALID, INFRA
 */
export async function openContainers(
  options: { config: Config; installation: string; logger: Logger },
  signal: AbortSignal,
): Promise<{ containers: Containers; left: number } | null> {
  const { config, installation, logger } = options;
  if (config.KILN_DRIVER === 'qemu') return null;
  const endpoint = { host: config.DOCKER_HOST, certificates: config.DOCKER_CERT_PATH ?? null };
  const containers = new Containers(await connectDocker(endpoint), { installation, logger });
  return { containers, left: await containers.open(signal) };
}

export async function openDriver(options: DriverOptions): Promise<Driver> {
  const { host, images: found, containers, signal } = options;
  if (containers === null) {
    const launcher = createProcessLauncher(await findQemu(options.path, signal));
    return {
      ...{ launcher, image: host.made[0], images: found },
      load: async (image) => image,
      unload: async () => undefined,
    };
  }
  const { config, vmsDirectory: sharedDirectory } = options;
  const { engine } = containers;
  const given = parseDqdImages(config.KILN_DQD_IMAGES, host.catalog);
  const load = async (image: VmImage, linked: AbortSignal): Promise<VmImage> => {
    // Of another image that operations made since, the dqd image is another, too.
    const isFirst = host.made.some(({ digest }) => digest === image.digest);
    const reference = isFirst ? given.get(image.entry) : undefined;
    if (reference !== undefined) {
      const id = await requireImage(engine, reference, linked);
      await requireVmImage(containers, { id, reference, folder: vmFolder, image }, linked);
      return imageInside(image, id);
    }
    const dqd =
      (await findMadeDqd(options.made, image)) ??
      (await prepareDqdImage(config, { ...options, signal: linked }, image));
    return imageInside(image, await loadImage(engine, dqd, linked));
  };
  const image = await load(host.made[0], signal);
  const images = new Map<string, (signal: AbortSignal) => Promise<VmImage>>();
  for (const [entry, open] of found) images.set(entry, async (linked) => load(await open(linked), linked));
  const vm = { cpus: config.KILN_VM_CPUS, memoryMiB: config.KILN_VM_MEMORY_MIB };
  const launcher = await createDockerLauncher({ containers, vm, image, sharedDirectory }, signal);
  const unload = (reference: string): Promise<void> => unloadImage(engine, reference, signal);
  return { launcher, image, images, load, unload };
}

/**
 * What VMs run on, and what their users should know of it, said in `progress`.
 * @param needsToken Without tokens nobody but this machine's own users is served.
 * @throws KilnError VIRTUALIZATION_UNAVAILABLE
 */
export async function chooseProcessor(
  { launcher, image }: Pick<Driver, 'launcher' | 'image'>,
  { config, progress, signal }: HostOptions & Pick<DriverOptions, 'config'>,
  needsToken: boolean,
): Promise<AcceleratorChoice> {
  const memory = createHangMemory({
    file: join(config.dataDirectory, 'kvm-hangs'),
    imageDigest: image.digest,
    qemu: launcher.qemu,
  });
  const chosen = await chooseAccelerator(
    {
      setting: config.KILN_ACCEL,
      trusted: !needsToken,
      probe: createKvmProbe({ launcher, image, memory }),
    },
    signal,
  );
  const { processor, note } = chosen;
  progress(`accelerator  ${processor.accelerator}${note ? `: ${note}` : ''}`);
  if (!opensRamReadOnly(launcher.qemu)) {
    progress(
      'note  this QEMU opens templates read-write: a guest that broke out of it could alter the next. QEMU 8.2 and later cannot.',
    );
  }
  return chosen;
}
