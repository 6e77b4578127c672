import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { Pins } from '../catalog/pins.ts';
import { runStep, type StepContext } from '../host/run-step.ts';
import { cachedStep } from './cached-step.ts';
import type { ImageRequest } from './image-request.ts';
import { writeOciLayout } from './oci-layout.ts';

const indexSchema = z.object({ manifests: z.tuple([z.object({ digest: z.string() })]) });

/** A stage of the Dockerfile from Debian packages alone: an OCI layout, its folder and the digest of its image. */
export type DebianStage = { readonly layout: string; readonly digest: string };

type DebianRequest = StepContext &
  Pick<ImageRequest, 'imagesDirectory' | 'cacheDirectory' | 'sharedCacheDirectory'>;

type Debian = { readonly suite: string; readonly include: string };

/** The base of a VM. */
export async function ensureBase(request: DebianRequest, pins: Pins): Promise<DebianStage> {
  const packages = await readPackages(request, 'packages.txt');
  const include = [...packages, pins.DEBIAN_KERNEL_PACKAGE].join(',');
  const what = `Debian ${pins.DEBIAN_SUITE} with ${pins.DEBIAN_KERNEL_PACKAGE}`;
  return ensureDebian({ name: 'base', what, debian: { suite: pins.DEBIAN_SUITE, include } }, request);
}

/** What dqd images have QEMU from. */
export async function ensureQemuBase(request: DebianRequest): Promise<DebianStage> {
  const include = (await readPackages(request, 'dqd/packages.txt')).join(',');
  return ensureDebian(
    { name: 'qemu', what: 'Debian trixie with QEMU', debian: { suite: 'trixie', include } },
    request,
  );
}

async function readPackages({ imagesDirectory }: DebianRequest, name: string): Promise<string[]> {
  return (await readFile(join(imagesDirectory, name), 'utf8')).trim().split('\n');
}

async function ensureDebian(
  { name, what, debian }: { name: string; what: string; debian: Debian },
  request: DebianRequest,
): Promise<DebianStage> {
  const layout = await cachedStep(
    {
      ...{ name, what, inputs: [debian.suite, debian.include] },
      make: (directory) => makeBase({ request, name, ...debian }, directory),
    },
    request,
  );
  const index = indexSchema.parse(JSON.parse(await readFile(join(layout, 'index.json'), 'utf8')));
  return { layout, digest: index.manifests[0].digest };
}

async function makeBase(
  { request, name, suite, include }: Debian & { request: DebianRequest; name: string },
  directory: string,
): Promise<void> {
  const tar = join(directory, 'base.tar');
  const options = ['--variant=minbase', `--include=${include}`, '--dpkgopt=path-exclude=/usr/share/man/*'];
  const env = { TMPDIR: directory };
  await runStep('mmdebstrap', [...options, suite, tar], { ...request, name, env });
  await writeOciLayout({ tar, directory }, request.signal);
}
