import { readFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { type Entry, findEntry } from '../catalog/catalog.ts';
import { KilnError } from '../model/error.ts';
import type { VmImage } from '../model/vm-image.ts';
import { ensureQemuBase } from './base.ts';
import { cachedStep, contentKey } from './cached-step.ts';
import { chooseSource } from './choose-source.ts';
import type { ImageRequest } from './image-request.ts';
import { pinned } from './looked-up.ts';
import { makingOf, nameOf } from './making.ts';

/** A container image of QEMU and a VM image, as a tar that a Docker engine loads. */
export type DqdImage = {
  /** What it is called once it is loaded; the tag changes with whatever it is made of. */
  readonly reference: string;
  readonly tar: string;
  /** Its folder in the cache. */
  readonly directory: string;
};

/** Where a dqd image has its VM image. */
export const vmFolder = '/vm';

const qemuImage = 'docker.io/library/debian:trixie-slim';
const recipe = ['Dockerfile', 'dqd/packages.txt', 'dqd/start.sh', 'dqd/healthcheck.sh', 'dqd/pool.pl'];

/**
 * The dqd image of a VM image, made where it is not there.
 * @throws KilnError REQUIREMENT_MISSING, INFRA
 */
export async function ensureDqdImage(request: ImageRequest, image: VmImage): Promise<DqdImage> {
  const files = await Promise.all(recipe.map((name) => readFile(join(request.imagesDirectory, name))));
  const { QEMU_IMAGE: qemu = qemuImage } = request.args;
  const inputs = [request.sources, image.digest, ...(qemu === qemuImage ? [] : [qemu]), ...files];
  const directory = await cachedStep(
    {
      ...{ name: 'dqd', what: nameOf(request), inputs },
      make: (unfinished) =>
        makeDqdImage(request, { image, qemu, ...described(image.entry, contentKey(inputs), unfinished) }),
    },
    request,
  );
  return described(image.entry, contentKey(inputs), directory);
}

/** The dqd image that was made in this folder of the cache, which is named by what it is made of. */
export function describeDqdImage(entry: string, directory: string): DqdImage {
  return described(entry, basename(directory), directory);
}

function described(entry: string, key: string, directory: string): DqdImage {
  return { reference: `kiln/dqd:${entry}-${key}`, tar: join(directory, 'image.tar'), directory };
}

async function makeDqdImage(
  request: ImageRequest,
  { image, qemu, reference, tar }: { image: VmImage; qemu: string } & Pick<DqdImage, 'reference' | 'tar'>,
): Promise<void> {
  await using builder = await request.openBuilder(request, 'dqd');
  const chosen = await chooseSource(request, qemu, builder);
  const base = chosen.source === 'packages' ? [await ensureQemuBase(request)] : [];
  // Whatever the stages that are replaced would need, the Dockerfile must be whole.
  const { pins } = await makingOf(request);
  await builder.build({
    ...{ target: 'dqd', own: null },
    contexts: [{ stage: 'made-vm', kind: 'folder', path: dirname(image.kernel) }, ...base],
    args: { ...pins, QEMU_IMAGE: chosen.source === 'registry' ? pinned(qemu, chosen.digest) : qemu },
    output: { kind: 'docker', reference, tar },
  });
}

/**
 * Which dqd image is taken for an entry, in place of one that is made.
 * @param given Words of KILN_DQD_IMAGES: ENTRY=REFERENCE.
 * @throws KilnError CONFIG_INVALID, BUILDKIT_UNKNOWN
 */
export function parseDqdImages(
  given: readonly string[],
  catalog: readonly Entry[],
): ReadonlyMap<string, string> {
  return new Map(
    given.map((word) => {
      const [, asked = '', reference] = /^([^=]+)=([\w.:/@-]+)$/.exec(word) ?? [];
      if (reference === undefined) {
        throw new KilnError('CONFIG_INVALID', `KILN_DQD_IMAGES: '${word}' is not ENTRY=REFERENCE.`);
      }
      return [findEntry(catalog, asked).name, reference];
    }),
  );
}

/** The same image as whoever runs in its dqd image finds it. @param id Of the container image. */
export function imageInside(image: VmImage, id: string): VmImage {
  const file = (path: string): string => path.replace(dirname(path), vmFolder);
  return {
    ...image,
    digest: id,
    kernel: file(image.kernel),
    initrd: file(image.initrd),
    disk: file(image.disk),
  };
}
