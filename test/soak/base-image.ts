import { X509Certificate } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { getCACertificates } from 'node:tls';
import { runStep } from '../../src/host/run-step.ts';
import { cachedStep } from '../../src/images/cached-step.ts';
import { writeOciLayout } from '../../src/images/oci-layout.ts';
import { runTool } from '../../src/lib/process/run-tool.ts';
import { installTools } from '../install-tools.ts';

const cacheDirectory = '/var/cache/kiln';
const { signal } = new AbortController();
const context = {
  ...{ cacheDirectory, sharedCacheDirectory: null, logDirectory: `${cacheDirectory}/logs`, signal },
  progress: (line: string) => console.log(line),
};

/** Debian with the programs of one family in it: under emulation an installation would take longer than what is tried. */
export type BaseRecipe = {
  readonly name: string;
  readonly packages: readonly string[];
  /** Files that are not unpacked: patterns of dpkg's path-exclude. */
  readonly without?: readonly string[];
  /** What else is done to it, in a shell of this machine; `$1` is its root. */
  readonly customize?: string;
  /** Prints, in a shell of this machine with `$1` as its root, the URLs its programs go to where nobody says otherwise. */
  readonly defaults: string;
};

export type BaseImage = { readonly layout: string; readonly defaults: readonly string[] };

const suite = 'bookworm';
const unread = ['man', 'doc', 'info', 'locale'].map((folder) => `/usr/share/${folder}/*`);

/** Makes the image where it is not there yet. It trusts whom this machine trusts: networks with a CA of their own are usual. */
export async function ensureBaseImage(recipe: BaseRecipe): Promise<BaseImage> {
  await installTools([
    { find: 'mmdebstrap', package: 'mmdebstrap' },
    { find: 'unzip', package: 'unzip' },
  ]);
  const authorities = ownAuthorities();
  const layout = await cachedStep(
    {
      name: `soak-${recipe.name}`,
      what: `Debian ${suite} with ${recipe.packages.slice(0, 3).join(', ')}, …`,
      inputs: [JSON.stringify(recipe), suite, ...authorities],
      make: (directory) => makeBaseImage(recipe, authorities, directory),
    },
    context,
  );
  const defaults = (await readFile(join(layout, 'defaults'), 'utf8')).trim().split('\n');
  return { layout, defaults };
}

/** Those in the system's list that do not come with Node: among them what a network of one's own signs with. */
function ownAuthorities(): string[] {
  const fingerprint = (pem: string): string => new X509Certificate(pem).fingerprint256;
  const usual = new Set(getCACertificates('bundled').map(fingerprint));
  const own = new Map(getCACertificates('system').map((pem) => [fingerprint(pem), pem]));
  return [...own].filter(([key]) => !usual.has(key)).map(([, pem]) => pem);
}

async function makeBaseImage(
  recipe: BaseRecipe,
  authorities: readonly string[],
  directory: string,
): Promise<void> {
  const trusted = join(directory, 'trusted');
  await mkdir(trusted);
  await Promise.all(
    authorities.map((pem, at) => writeFile(join(trusted, `own-${at}.crt`), `${pem.trim()}\n`)),
  );
  const tar = join(directory, 'base.tar');
  const trust = [
    `for file in ${trusted}/*.crt; do if [ -e "$file" ]; then cp "$file" "$1/usr/local/share/ca-certificates/"; fi; done`,
    'chroot "$1" update-ca-certificates',
  ].join('; ');
  const hooks = [trust, recipe.customize ?? 'true', `{ ${recipe.defaults}\n} >${directory}/defaults`];
  const options = [
    '--variant=minbase',
    `--include=${['ca-certificates', ...recipe.packages].join()}`,
    ...[...unread, ...(recipe.without ?? [])].map((pattern) => `--dpkgopt=path-exclude=${pattern}`),
    // Java links its manuals there.
    '--essential-hook=mkdir -p "$1/usr/share/man/man1"',
    ...hooks.map((hook) => `--customize-hook=set -eu; ${hook}`),
  ];
  const step = { ...context, name: `soak-${recipe.name}`, env: { TMPDIR: directory } };
  await runStep('mmdebstrap', [...options, suite, tar], step);
  await writeOciLayout({ tar, directory }, signal);
}

/** Puts the image into the registry that stands in for Docker Hub. */
export async function pushBaseImage(registryUrl: string, { layout }: BaseImage, name: string): Promise<void> {
  const target = `docker://${new URL(registryUrl).host}/library/${name}:latest`;
  const options = ['copy', '--insecure-policy', '--dest-tls-verify=false'];
  await runTool('skopeo', [...options, `oci:${layout}`, target], signal);
}
