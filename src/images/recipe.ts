import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { binariesRecipe } from './binaries.ts';
import { readTree } from './cached-step.ts';
import { sourceDateEpoch } from './epoch.ts';
import type { ImageRequest } from './image-request.ts';
import type { Making } from './making.ts';

type Inputs = readonly (string | Buffer)[];

/** The files of the images/ folder by what is made of them. What a registry or a package archive serves today is none of it: an image stays until one of these changes. */
export type Recipe = { readonly sources: string; readonly ctr: Inputs; readonly vm: Inputs };

/** Where the stages of the next image begin in the Dockerfile. */
const vmStages = /^FROM ctr AS made-ctr$/m;
const dqdStages = /^FROM \S+ AS qemu$/m;

export async function readRecipe({
  imagesDirectory,
  sources,
}: Pick<ImageRequest, 'imagesDirectory' | 'sources'>): Promise<Recipe> {
  const read = (name: string): Promise<Buffer> => readFile(join(imagesDirectory, name));
  const [untilDqd = ''] = (await read('Dockerfile')).toString('utf8').split(dqdStages);
  const [ofCtr = '', ofVm = ''] = untilDqd.split(vmStages);
  const files = await Promise.all([...binariesRecipe, 'configure.sh', 'packages.txt'].map(read));
  return {
    sources,
    ctr: [ofCtr, ...files, ...(await readTree(join(imagesDirectory, 'rootfs')))],
    vm: [ofVm, await read('make-disk.sh')],
  };
}

/** The inputs of a ctr image. */
export function ctrInputs(
  recipe: Recipe,
  { version, installation, args, noCache, pins, derived }: Making,
): Inputs {
  return [
    ...[recipe.sources, sourceDateEpoch],
    JSON.stringify(pins),
    ...(version === null ? [] : [`version ${version} of ${installation}`]),
    ...(Object.keys(args).length === 0 ? [] : [JSON.stringify(args)]),
    ...(noCache ? ['no cache'] : []),
    ...(derived === null ? [] : [`derived ${derived}`]),
    ...recipe.ctr,
  ];
}

/** The inputs of a VM image, which is made from the ctr image of the same. */
export function vmInputs(recipe: Recipe, making: Making): Inputs {
  return [...ctrInputs(recipe, making), ...recipe.vm];
}
