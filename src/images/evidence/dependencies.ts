import { createHash } from 'node:crypto';
import type { Entry } from '../../catalog/catalog.ts';
import type { Pins } from '../../catalog/pins.ts';
import type { GoModule } from '../../evidence/go-modules.ts';
import { type Dependency, toDirHash } from '../../evidence/provenance.ts';
import { goPurl } from '../../evidence/spdx.ts';
import { readTree } from '../cached-step.ts';

/** BuildKit, runc and the toolchain that built them, by the pins of their entry. */
export function pinnedModules({ pins }: { pins: Pins }): GoModule[] {
  const { BUILDKIT_VERSION, BUILDKIT_MODULE_HASH, RUNC_VERSION, RUNC_MODULE_HASH } = pins;
  const { GO_TOOLCHAIN, GO_TOOLCHAIN_HASH_AMD64 } = pins;
  return [
    { path: 'github.com/moby/buildkit', version: BUILDKIT_VERSION, hash: BUILDKIT_MODULE_HASH },
    { path: 'github.com/opencontainers/runc', version: `v${RUNC_VERSION}`, hash: RUNC_MODULE_HASH },
    {
      path: 'golang.org/toolchain',
      version: `v0.0.1-${GO_TOOLCHAIN}.linux-amd64`,
      hash: GO_TOOLCHAIN_HASH_AMD64,
    },
  ];
}

/**
 * Everything that the images of an entry are made of, by its digest.
 * @param materials What it is made of besides pins and recipe, such as `base`, each by its digest (`sha256:…`).
 */
export async function resolveDependencies(
  entry: Entry,
  { imagesDirectory, materials }: { imagesDirectory: string; materials: Readonly<Record<string, string>> },
): Promise<Dependency[]> {
  const modules = pinnedModules(entry).map(({ path, version, hash }) => ({
    name: path,
    uri: goPurl(path, version),
    digest: hash === null ? {} : toDirHash(hash),
  }));
  const others = Object.entries(materials).map(([name, digest]) => ({
    name,
    uri: `urn:kiln:material:${name}`,
    digest: { sha256: digest.replace(/^sha256:/, '') },
  }));
  return [...modules, ...others, await describeRecipe(imagesDirectory)];
}

/** The project's images/ folder: names and bytes of all its files, as the keys of the cache are made of them. */
async function describeRecipe(imagesDirectory: string): Promise<Dependency> {
  const hash = createHash('sha256');
  for (const part of await readTree(imagesDirectory)) hash.update(`${part.length}\n`).update(part);
  return { name: 'images', uri: 'urn:kiln:recipe:images', digest: { sha256: hash.digest('hex') } };
}
