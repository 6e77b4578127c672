import { createHash } from 'node:crypto';
import { chmod, mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { removeQuietly } from '../lib/files.ts';
import { hashFile } from '../lib/hash.ts';
import { runTool } from '../lib/process.ts';
import { KilnError } from '../model/error.ts';
import type { VmImage } from '../model/vm-image.ts';
import { type Builder, startBuilder, useBuilder } from './builder.ts';
import { cachedStep, readTree } from './cached-step.ts';
import { ensureHostTools, imageTools } from './host-tools.ts';
import { writeOciLayout } from './oci-layout.ts';
import { type Pins, readPins } from './pins.ts';
import { runLogged, type StepContext } from './run-logged.ts';

export type ImageRequest = StepContext & {
  readonly entry: string;
  /** The project's images/ folder. */
  readonly imagesDirectory: string;
  readonly cacheDirectory: string;
  /** What the image is made from; auto takes a container registry where one answers. */
  readonly sources: 'auto' | 'registry' | 'packages';
  /** Address of a buildkitd to build with, in place of one that is started for it. */
  readonly buildkitHost: string | undefined;
  readonly asRoot: boolean;
  /** Where programs are looked for, as in $PATH. */
  readonly path: string;
};

const versionsSchema = z.record(z.string(), z.string());
const fileSchema = z.object({ sha256: z.string(), bytes: z.number() });
const manifestSchema = z.object({
  entry: z.string(),
  source: z.enum(['registry', 'packages']),
  versions: versionsSchema,
  files: z.object({ kernel: fileSchema, initrd: fileSchema, 'disk.qcow2': fileSchema }),
});
const fileNames = ['kernel', 'initrd', 'disk.qcow2'] as const;

/** How long a registry may take to answer before Debian packages are taken. */
const registryDeadlineMs = 20_000;

/**
 * Returns the VM image of an archive entry, making it where it is not there: binaries from their Go modules, a base, and the
 * Dockerfile built by a buildkitd on this host. Every step is cached by what it is made from; an interrupted one begins anew.
 * @throws KilnError REQUIREMENT_MISSING, INFRA, IMAGE_CORRUPT
 */
export async function ensureVmImage(request: ImageRequest): Promise<VmImage> {
  const pins = await readPins(request.imagesDirectory, request.entry);
  const inputs = await imageInputs(request, pins);
  const result = await cachedStep(
    { name: 'image', what: request.entry, inputs, make: (directory) => makeImage(request, pins, directory) },
    request,
  );
  return openVmImage(result, request.signal);
}

/** Checks every file of an image against its manifest. @throws KilnError IMAGE_CORRUPT */
export async function openVmImage(directory: string, signal: AbortSignal): Promise<VmImage> {
  const text = await readFile(join(directory, 'manifest.json'), 'utf8');
  const manifest = manifestSchema.parse(JSON.parse(text));
  for (const name of fileNames) {
    const path = join(directory, name);
    const { size } = await stat(path).catch(() => ({ size: -1 }));
    const expected = manifest.files[name];
    if (size === expected.bytes && (await hashFile(path, signal)) === expected.sha256) continue;
    throw new KilnError(
      'IMAGE_CORRUPT',
      `${path} is not what its manifest says; remove ${directory} and start again.`,
    );
  }
  return {
    entry: manifest.entry,
    digest: `sha256:${createHash('sha256').update(text).digest('hex')}`,
    versions: manifest.versions,
    kernel: join(directory, 'kernel'),
    initrd: join(directory, 'initrd'),
    disk: join(directory, 'disk.qcow2'),
  };
}

/** Pins, recipe and files. What a registry or a package archive serves today is no input: an image stays until one of these changes. */
async function imageInputs(request: ImageRequest, pins: Pins): Promise<(string | Buffer)[]> {
  const recipe = ['Dockerfile', 'build-binaries.sh', 'configure.sh', 'make-disk.sh', 'packages.txt'];
  const files = await Promise.all(recipe.map((name) => readFile(join(request.imagesDirectory, name))));
  return [
    request.sources,
    JSON.stringify(pins),
    ...files,
    ...(await readTree(join(request.imagesDirectory, 'rootfs'))),
  ];
}

async function makeImage(request: ImageRequest, pins: Pins, directory: string): Promise<void> {
  if (!request.asRoot && request.buildkitHost === undefined) {
    throw new KilnError(
      'REQUIREMENT_MISSING',
      'The first VM image is made as root: run "sudo npm start" once, or set BUILDKIT_HOST to a buildkitd that you may use.',
    );
  }
  await ensureHostTools(imageTools, request);
  const bins = join(await ensureBinaries(request, pins), 'out');
  await using builder =
    request.buildkitHost === undefined ? await startBuilder(bins, request) : useBuilder(request.buildkitHost);
  const source = await chooseSource(request, pins, { builder, bins });
  const base = source === 'packages' ? await ensureBase(request, pins) : null;
  await buildImage({ request, pins, builder, bins, base }, directory);
  await writeManifest({ directory, entry: request.entry, source }, request.signal);
}

function ensureBinaries(request: ImageRequest, pins: Pins): Promise<string> {
  const script = join(request.imagesDirectory, 'build-binaries.sh');
  const versions = `buildkit ${pins.BUILDKIT_VERSION}, runc ${pins.RUNC_VERSION}`;
  return readFile(script).then((text) =>
    cachedStep(
      {
        name: 'binaries',
        what: `${versions} from their Go modules`,
        inputs: [
          text,
          pins.BUILDKIT_VERSION,
          pins.BUILDKIT_REVISION,
          pins.RUNC_VERSION,
          pins.RUNC_COMMIT,
          pins.GO_TOOLCHAIN,
        ],
        make: async (directory) => {
          const caches = join(request.cacheDirectory, 'go');
          const env = { ...pins, GOMODCACHE: join(caches, 'modules'), GOCACHE: join(caches, 'build') };
          await runLogged('sh', [script, join(directory, 'out')], { ...request, name: 'binaries', env });
          // A gigabyte that served once; modules are read-only.
          await runTool('chmod', ['-R', 'u+w', caches], request.signal);
          await removeQuietly(caches);
        },
      },
      request,
    ),
  );
}

/** Asks the builder itself, with its own mirrors and proxies, whether the base can be had. */
async function chooseSource(
  { sources, signal, progress, cacheDirectory }: ImageRequest,
  pins: Pins,
  { builder, bins }: { builder: Builder; bins: string },
): Promise<'registry' | 'packages'> {
  if (sources !== 'auto') return sources;
  const probe = join(cacheDirectory, 'probe');
  await mkdir(probe, { recursive: true });
  await writeFile(join(probe, 'Dockerfile'), `FROM ${pins.BASE_IMAGE}\n`);
  const args = [
    '--addr',
    builder.address,
    'build',
    '--frontend=dockerfile.v0',
    `--local=context=${probe}`,
    `--local=dockerfile=${probe}`,
  ];
  const deadline = AbortSignal.any([signal, AbortSignal.timeout(registryDeadlineMs)]);
  const answers = await runTool(
    join(bins, 'buildctl'),
    [...args, '--opt=requestid=frontend.outline'],
    deadline,
  )
    .then(() => runTool(join(bins, 'buildctl'), args, deadline))
    .then(
      () => true,
      () => false,
    );
  signal.throwIfAborted();
  await removeQuietly(probe);
  progress(
    answers ? `source  ${pins.BASE_IMAGE}` : 'source  Debian packages, as no container registry answers',
  );
  return answers ? 'registry' : 'packages';
}

/** The base from Debian packages alone, as an OCI layout. */
async function ensureBase(request: ImageRequest, pins: Pins): Promise<string> {
  const packages = (await readFile(join(request.imagesDirectory, 'packages.txt'), 'utf8')).trim().split('\n');
  const include = [...packages, pins.DEBIAN_KERNEL_PACKAGE].join(',');
  return cachedStep(
    {
      name: 'base',
      what: `Debian ${pins.DEBIAN_SUITE} with ${pins.DEBIAN_KERNEL_PACKAGE}`,
      inputs: [pins.DEBIAN_SUITE, include],
      make: async (directory) => {
        const tar = join(directory, 'base.tar');
        const args = [
          '--variant=minbase',
          `--include=${include}`,
          '--dpkgopt=path-exclude=/usr/share/man/*',
          pins.DEBIAN_SUITE,
          tar,
        ];
        await runLogged('mmdebstrap', args, { ...request, name: 'base' });
        await writeOciLayout({ tar, directory }, request.signal);
      },
    },
    request,
  );
}

async function buildImage(
  options: { request: ImageRequest; pins: Pins; builder: Builder; bins: string; base: string | null },
  directory: string,
): Promise<void> {
  const { request, pins, builder, bins, base } = options;
  const { imagesDirectory } = request;
  const buildArgs = Object.entries(pins).map(([name, value]) => `--opt=build-arg:${name}=${value}`);
  const contexts = base
    ? [`--oci-layout=base=${base}`, `--opt=context:base=oci-layout://base@${await layoutDigest(base)}`]
    : [];
  await runLogged(
    join(bins, 'buildctl'),
    [
      ...[
        '--addr',
        builder.address,
        'build',
        '--frontend=dockerfile.v0',
        '--progress=plain',
        '--opt=target=vm',
      ],
      ...[`--local=context=${imagesDirectory}`, `--local=dockerfile=${imagesDirectory}`],
      ...[`--local=bins=${dirname(bins)}`, '--opt=context:bins=local:bins'],
      ...contexts,
      ...buildArgs,
      `--output=type=local,dest=${directory}`,
    ],
    { ...request, name: 'image' },
  );
}

async function layoutDigest(layout: string): Promise<string> {
  const schema = z.object({ manifests: z.tuple([z.object({ digest: z.string() })]) });
  const index = schema.parse(JSON.parse(await readFile(join(layout, 'index.json'), 'utf8')));
  return index.manifests[0].digest;
}

async function writeManifest(
  { directory, entry, source }: { directory: string; entry: string; source: 'registry' | 'packages' },
  signal: AbortSignal,
): Promise<void> {
  const versions = versionsSchema.parse(JSON.parse(await readFile(join(directory, 'versions.json'), 'utf8')));
  const describe = async (name: string): Promise<z.infer<typeof fileSchema>> => {
    const path = join(directory, name);
    // The VMs run as other users than the one who made the image.
    await chmod(path, 0o644);
    return { sha256: await hashFile(path, signal), bytes: (await stat(path)).size };
  };
  const files = {
    kernel: await describe('kernel'),
    initrd: await describe('initrd'),
    'disk.qcow2': await describe('disk.qcow2'),
  };
  await writeFile(
    join(directory, 'manifest.json'),
    `${JSON.stringify({ entry, source, versions, files }, null, 2)}\n`,
  );
}
