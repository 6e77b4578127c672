import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Pins } from '../catalog/pins.ts';
import { baseTools, ensureHostTools } from '../host/host-tools.ts';
import { runStep, type StepContext } from '../host/run-step.ts';
import { cachedStep } from './cached-step.ts';
import { sourceDateEpoch } from './epoch.ts';
import type { LayoutContext } from './image-builder.ts';
import type { ImageRequest } from './image-request.ts';
import { readLayoutDigest, writeOciLayout } from './oci-layout.ts';

type DebianRequest = StepContext &
  Pick<ImageRequest, 'imagesDirectory' | 'cacheDirectory' | 'sharedCacheDirectory' | 'asRoot' | 'path'> &
  Partial<Pick<ImageRequest, 'entry' | 'version' | 'installation' | 'noCache'>>;

/** A stage of the Dockerfile from Debian packages alone. */
type Debian = {
  readonly suite: string;
  readonly include: string;
  /** What is made of it has it so, too. It goes into VMs, where each byte takes longer than here. */
  readonly compression: 'gzip' | 'zstd';
};

/** The base of a VM. */
export async function ensureBase(request: DebianRequest, pins: Pins): Promise<LayoutContext> {
  const packages = await readPackages(request, 'packages.txt');
  const include = [...packages, pins.DEBIAN_KERNEL_PACKAGE].join(',');
  const what = `Debian ${pins.DEBIAN_SUITE} with ${pins.DEBIAN_KERNEL_PACKAGE}`;
  return ensureDebian(
    { name: 'base', what, debian: { suite: pins.DEBIAN_SUITE, include, compression: 'zstd' } },
    request,
  );
}

/** What dqd images have QEMU from. */
export async function ensureQemuBase(request: DebianRequest): Promise<LayoutContext> {
  const include = (await readPackages(request, 'dqd/packages.txt')).join(',');
  return ensureDebian(
    {
      name: 'qemu',
      what: 'Debian trixie with QEMU', // The Docker engine of Debian 12 takes no zstd.
      debian: { suite: 'trixie', include, compression: 'gzip' },
    },
    request,
  );
}

async function readPackages({ imagesDirectory }: DebianRequest, name: string): Promise<string[]> {
  return (await readFile(join(imagesDirectory, name), 'utf8')).trim().split('\n');
}

async function ensureDebian(
  { name, what, debian }: { name: string; what: string; debian: Debian },
  request: DebianRequest,
): Promise<LayoutContext> {
  const layout = await cachedStep(
    {
      ...{ name, what, inputs: [debian.suite, debian.include, debian.compression, ...anew(request)] },
      make: (directory) => makeBase({ request, name, ...debian }, directory),
    },
    request,
  );
  return { stage: name, kind: 'layout', path: layout, digest: await readLayoutDigest(layout) };
}

/** Packages are those that an earlier image had, unless they are to be fetched anew: then they are of this image alone. */
function anew({ noCache, entry, version, installation }: DebianRequest): string[] {
  return noCache ? [`for ${entry} ${version} of ${installation}`] : [];
}

async function makeBase(
  { request, name, suite, include, compression }: Debian & { request: DebianRequest; name: string },
  directory: string,
): Promise<void> {
  await ensureHostTools(baseTools, request);
  const tar = join(directory, 'base.tar');
  const options = ['--variant=minbase', `--include=${include}`, '--dpkgopt=path-exclude=/usr/share/man/*'];
  const env = { TMPDIR: directory, SOURCE_DATE_EPOCH: sourceDateEpoch };
  await runStep('mmdebstrap', [...options, suite, tar], { ...request, name, env });
  await writeOciLayout({ tar, directory, compression }, request.signal);
}
