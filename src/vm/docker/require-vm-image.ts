import { createHash, randomUUID } from 'node:crypto';
import { basename, posix } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type Docker from 'dockerode';
import { extract } from 'tar-stream';
import { KilnError } from '../../model/error.ts';
import type { VmImage } from '../../model/vm-image.ts';
import type { Containers } from './containers.ts';
import type { DockerEngine } from './engine.ts';

/** Half a gigabyte, read and hashed on a busy machine. */
const readDeadlineMs = 600_000;

/**
 * That a dqd image which was made elsewhere holds this very VM image: what is known of the one on this host must hold for what VMs run on.
 * Every byte of it is read, out of a container that is never started.
 * @param dqd.folder Where it has its VM image.
 * @throws KilnError CONFIG_INVALID naming the file that is another; INFRA; the signal's reason
 */
export async function requireVmImage(
  containers: Pick<Containers, 'engine' | 'create'>,
  { id, reference, folder, image }: { id: string; reference: string; folder: string; image: VmImage },
  signal: AbortSignal,
): Promise<void> {
  const { container, remove } = await containers.create(
    {
      ...{ name: `kiln-look-${randomUUID()}`, image: id, command: ['/never-started'], user: null },
      ...{ limits: { cpus: 1, memoryMiB: 64 }, accelerator: 'tcg' },
      ...{ directory: null, reads: [], scratch: false },
    },
    signal,
  );
  try {
    const found = await hashFiles(containers.engine, { container, folder }, signal);
    for (const [path, sha256] of Object.entries(image.sealed.hashes)) {
      const name = basename(path);
      if (found.get(name) === sha256) continue;
      const how = found.has(name) ? 'is another than that' : 'is none';
      throw new KilnError(
        'CONFIG_INVALID',
        `KILN_DQD_IMAGES: ${reference} holds another VM image than this host has of ${image.entry}: its ${folder}/${name} ${how}. Name the dqd image that was made of it, or copy what it holds to given/${image.entry} of KILN_CACHE_DIR and remove the one that is there.`,
      );
    }
  } finally {
    await remove();
  }
}

/** sha256 of the files of a folder of a container, by their names. */
function hashFiles(
  engine: DockerEngine,
  { container, folder }: { container: Docker.Container; folder: string },
  signal: AbortSignal,
): Promise<ReadonlyMap<string, string>> {
  return engine.ask(
    'hand out the VM image of a dqd image',
    signal,
    async (_docker, abortSignal) => {
      const found = new Map<string, string>();
      const archive = await container.getArchive({ path: folder, abortSignal });
      const members = extract();
      const reading = pipeline(archive, members, { signal: abortSignal });
      // Told by whoever reads the members, too.
      reading.catch(() => undefined);
      for await (const member of members) {
        const hash = createHash('sha256');
        for await (const bytes of member) hash.update(bytes as Buffer);
        if (member.header.type === 'file')
          found.set(posix.relative(posix.basename(folder), member.header.name), hash.digest('hex'));
      }
      await reading;
      return found;
    },
    readDeadlineMs,
  );
}
