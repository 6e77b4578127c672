import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { findEntry, listEntries } from '../catalog/catalog.ts';
import type { Pins } from '../catalog/pins.ts';
import type { RebuildArgs } from '../model/operation.ts';
import { ensureBase } from './base.ts';
import { ensureBinaries } from './binaries.ts';
import { cachedStep } from './cached-step.ts';
import { chooseSource } from './choose-source.ts';
import type { ImageRequest } from './image-request.ts';
import { readLayoutDigest } from './oci-layout.ts';
import { ctrInputs, type Making, readRecipe } from './recipe.ts';

/** The root file system of a VM as a container image. */
export type CtrImage = {
  /** An OCI image layout that holds nothing else. */
  readonly layout: string;
  /** Of its manifest, `sha256:…`. */
  readonly digest: string;
  readonly source: 'registry' | 'packages';
  /** Its folder in the cache. */
  readonly directory: string;
};

const recordSchema = z.object({ source: z.enum(['registry', 'packages']) });
const recordName = 'ctr.json';
const layoutName = 'layout';

/**
 * The ctr image of an archive entry, made where it is not there: binaries from their Go modules, a base, and the Dockerfile.
 * @throws KilnError BUILDKIT_UNKNOWN, REQUIREMENT_MISSING, INFRA
 */
export async function ensureCtrImage(request: ImageRequest): Promise<CtrImage> {
  const making = await makingOf(request);
  const directory = await cachedStep(
    {
      name: 'ctr',
      what: nameOf(request),
      inputs: ctrInputs(await readRecipe(request), making),
      make: (unfinished) => makeCtr(request, making.pins, unfinished),
    },
    request,
  );
  const layout = join(directory, layoutName);
  const record = recordSchema.parse(JSON.parse(await readFile(join(directory, recordName), 'utf8')));
  return { ...record, layout, digest: await readLayoutDigest(layout), directory };
}

/** What the images of this request are made of besides the recipe. */
export async function makingOf(request: ImageRequest): Promise<Making> {
  const { version, args, noCache, entry, imagesDirectory } = request;
  const { pins } = findEntry(await listEntries(imagesDirectory), entry);
  return { version, args, noCache, pins: { ...pins, ...given(args) } };
}

/** What of the arguments takes the place of pins. */
function given({ QEMU_IMAGE: _ofDqd, ...args }: RebuildArgs): Partial<Pins> {
  return Object.fromEntries(Object.entries(args).filter(([, value]) => value !== undefined));
}

/** An image, as people are told of it. */
export function nameOf({ entry, version }: Pick<ImageRequest, 'entry' | 'version'>): string {
  return [entry, version].filter((word) => word !== null).join(' ');
}

async function makeCtr(request: ImageRequest, pins: Pins, directory: string): Promise<void> {
  await using builder = await request.openBuilder(request, 'ctr');
  const bins = await ensureBinaries(request, pins);
  const source = await chooseSource(request, pins.BASE_IMAGE, builder);
  const base = source === 'packages' ? [await ensureBase(request, pins)] : [];
  await builder.build({
    target: 'ctr',
    contexts: [{ stage: 'bins', kind: 'folder', path: bins }, ...base],
    args: pins,
    output: { kind: 'layout', directory: join(directory, layoutName) },
  });
  await writeFile(join(directory, recordName), `${JSON.stringify({ source })}\n`);
}
