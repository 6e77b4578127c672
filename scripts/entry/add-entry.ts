import { access, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parsePins } from '../../src/catalog/pins.ts';
import { parseVersion } from '../../src/catalog/version.ts';
import { parseReleaseRecipe } from './dockerfile.ts';
import { formatEntry, unknownOf } from './format-entry.ts';
import { findSource } from './source.ts';
import { findToolchain } from './toolchain.ts';

const buildkitModule = 'github.com/moby/buildkit';
const runcModule = 'github.com/opencontainers/runc';

/**
 * Writes `buildkit/VERSION/.env` below `imagesDirectory`, all of it read from the modules of that release; no entry that is there is touched.
 * @returns the file, and what could not be found out although the entry can be built without it
 * @throws Error, ModuleMissing that name the input which is missing
 */
export async function addEntry(
  imagesDirectory: string,
  version: string,
): Promise<{ path: string; unknown: string[] }> {
  if (!parseVersion(version)) throw new Error('a version looks like v0.21.1');
  const folder = join(imagesDirectory, 'buildkit', version);
  const path = join(folder, '.env');
  if (await exists(path)) throw new Error(`there already: ${path}`);

  const buildkit = await findSource(buildkitModule, version);
  const recipe = parseReleaseRecipe(await readFile(join(buildkit.directory, 'Dockerfile'), 'utf8'));
  const runc = await findSource(runcModule, `v${recipe.runc}`);
  const makefile = await readFile(join(runc.directory, 'Makefile'), 'utf8');
  const toolchain = await findToolchain(recipe.goLine, buildkit.time);

  const text = formatEntry({
    version,
    buildkit,
    runc,
    makefile,
    runcVersion: recipe.runc,
    toolchain,
    goLine: recipe.goLine,
  });
  parsePins(text, path);
  await mkdir(folder, { recursive: true });
  await writeFile(path, text, { flag: 'wx' });
  return { path, unknown: unknownOf({ buildkit, runc, toolchain }) };
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
