import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { Pins } from '../catalog/pins.ts';
import { runStep } from '../host/run-step.ts';
import { cachedStep } from './cached-step.ts';
import type { ImageRequest } from './image-request.ts';
import { writeOciLayout } from './oci-layout.ts';

const indexSchema = z.object({ manifests: z.tuple([z.object({ digest: z.string() })]) });

/** The base from Debian packages alone, as an OCI layout: its folder and the digest of its image. */
export async function ensureBase(
  request: ImageRequest,
  pins: Pins,
): Promise<{ layout: string; digest: string }> {
  const packages = (await readFile(join(request.imagesDirectory, 'packages.txt'), 'utf8')).trim().split('\n');
  const include = [...packages, pins.DEBIAN_KERNEL_PACKAGE].join(',');
  const layout = await cachedStep(
    {
      name: 'base',
      what: `Debian ${pins.DEBIAN_SUITE} with ${pins.DEBIAN_KERNEL_PACKAGE}`,
      inputs: [pins.DEBIAN_SUITE, include],
      make: (directory) => makeBase({ request, suite: pins.DEBIAN_SUITE, include }, directory),
    },
    request,
  );
  const index = indexSchema.parse(JSON.parse(await readFile(join(layout, 'index.json'), 'utf8')));
  return { layout, digest: index.manifests[0].digest };
}

async function makeBase(
  { request, suite, include }: { request: ImageRequest; suite: string; include: string },
  directory: string,
): Promise<void> {
  const tar = join(directory, 'base.tar');
  const options = ['--variant=minbase', `--include=${include}`, '--dpkgopt=path-exclude=/usr/share/man/*'];
  const env = { TMPDIR: directory };
  await runStep('mmdebstrap', [...options, suite, tar], { ...request, name: 'base', env });
  await writeOciLayout({ tar, directory }, request.signal);
}
