import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { askModule, downloadModule, type GoModule, ModuleMissing, runGo } from './go.ts';

/** A program's module at one version: its sources, their hash, and the commit they are. */
export type Source = {
  readonly directory: string;
  readonly hash: string;
  readonly time: Date;
  /** 40 digits; null where neither the module proxy nor the repository tells it. */
  readonly commit: string | null;
};

/** @throws ModuleMissing with the module that cannot be had: the program's own or one it is built from */
export async function findSource(path: string, version: string): Promise<Source> {
  const { Time: time, Origin: origin } = await askModule(path, version);
  if (!time) throw new ModuleMissing(`${path}@${version}: its time is not told`);
  const { directory, hash } = await downloadModule(path, version);
  await checkDependencies(path, version, directory);
  const commit = commitOf(origin, version) ?? (await commitFromRepository({ path, version, hash }));
  return { directory, hash, time, commit };
}

/** Has Go resolve every module that this one is built from; what is served no more is found before a build of minutes. */
async function checkDependencies(path: string, version: string, directory: string): Promise<void> {
  const copy = await mkdtemp(join(tmpdir(), 'kiln-entry-'));
  try {
    for (const name of ['go.mod', 'go.sum']) await cp(join(directory, name), join(copy, name));
    // Old releases lack hashes in their go.sum of modules that they do not build with: Go adds them, to the copy.
    const args = ['list', '-m', '-mod=mod', `-modfile=${join(copy, 'go.mod')}`, 'all'];
    await runGo(args, { cwd: directory, env: { GOFLAGS: '' } });
  } catch (error) {
    throw new ModuleMissing(`${path}@${version} is built from what cannot be had: ${messageOf(error)}`);
  } finally {
    await rm(copy, { recursive: true, force: true });
  }
}

/** Only what a tag of that name points at is the release. */
function commitOf(origin: GoModule['Origin'], version: string): string | null {
  return origin?.Ref === `refs/tags/${version}` ? (origin.Hash ?? null) : null;
}

/**
 * Go makes the module anew from the module's repository, past all proxies; where its hash is the same, the commit that it was made
 * from is the release's. Git's `url.….insteadOf` leads it to a mirror.
 */
export async function commitFromRepository({
  path,
  version,
  hash,
}: {
  path: string;
  version: string;
  hash: string;
}): Promise<string | null> {
  repositories ??= await mkdtemp(join(tmpdir(), 'kiln-entry-repositories-'));
  const env = { GOPROXY: 'direct', GOSUMDB: 'off', GOMODCACHE: repositories };
  try {
    const made = await downloadModule(path, version, env);
    return made.hash === hash ? commitOf(made.origin, version) : null;
  } catch {
    return null;
  }
}

/** Clones serve all versions of one run. */
let repositories: string | undefined;

export async function removeRepositories(): Promise<void> {
  if (repositories === undefined) return;
  await runGo(['clean', '-modcache'], { env: { GOMODCACHE: repositories } });
  await rm(repositories, { recursive: true, force: true });
  repositories = undefined;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
