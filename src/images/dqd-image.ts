import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type Entry, findEntry, listEntries } from '../catalog/catalog.ts';
import { KilnError } from '../model/error.ts';
import type { VmImage } from '../model/vm-image.ts';
import { ensureQemuBase } from './base.ts';
import { folderContext, layoutContext, prepareBuilder } from './build-target.ts';
import { cachedStep, contentKey } from './cached-step.ts';
import { chooseSource } from './choose-source.ts';
import type { ImageRequest } from './image-request.ts';

/** A container image of QEMU and a VM image, as a tar that a Docker engine loads. */
export type DqdImage = {
  /** What it is called once it is loaded; the tag changes with whatever it is made of. */
  readonly reference: string;
  readonly tar: string;
};

/** Where a dqd image has its VM image. */
const vmFolder = '/vm';

const qemuImage = 'docker.io/library/debian:trixie-slim';
const recipe = ['Dockerfile', 'dqd/packages.txt', 'dqd/start.sh', 'dqd/healthcheck.sh', 'dqd/pool.pl'];

/**
 * The dqd image of a VM image, made where it is not there.
 * @throws KilnError REQUIREMENT_MISSING, INFRA
 */
export async function ensureDqdImage(request: ImageRequest, image: VmImage): Promise<DqdImage> {
  const files = await Promise.all(recipe.map((name) => readFile(join(request.imagesDirectory, name))));
  const inputs = [request.sources, image.digest, ...files];
  const reference = `kiln/dqd:${image.entry}-${contentKey(inputs)}`;
  const directory = await cachedStep(
    {
      ...{ name: 'dqd', what: image.entry, inputs },
      make: (unfinished) => makeDqdImage(request, image, { reference, tar: join(unfinished, tarName) }),
    },
    request,
  );
  return { reference, tar: join(directory, tarName) };
}

const tarName = 'image.tar';

async function makeDqdImage(
  request: ImageRequest,
  image: VmImage,
  { reference, tar }: DqdImage,
): Promise<void> {
  await using work = await prepareBuilder(request, 'dqd');
  const source = await chooseSource(request, qemuImage, work.builder);
  const qemu = source === 'packages' ? await ensureQemuBase(request) : null;
  // Whatever the stages that are replaced would need, the Dockerfile must be whole.
  const { pins } = findEntry(await listEntries(request.imagesDirectory), image.entry);
  const vm = folderContext('made-vm', dirname(image.kernel));
  await work.build({
    target: 'dqd',
    contexts: [...vm, ...(qemu ? layoutContext('qemu', qemu) : [])],
    args: { ...pins, QEMU_IMAGE: qemuImage },
    // What is read and written once on this host is not worth compressing.
    output: `type=docker,name=${reference},dest=${tar},compression=uncompressed`,
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
