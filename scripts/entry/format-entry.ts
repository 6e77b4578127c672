import type { Source } from './source.ts';
import type { Toolchain } from './toolchain.ts';

/** What all entries have in common: the system around BuildKit. */
const base = `# Defaults for those who reach a container registry. Any Go from 1.19 on: it fetches the pinned one as a module.
BASE_IMAGE=docker.io/library/ubuntu:24.04
GO_IMAGE=docker.io/library/golang:1.22.12-bookworm
KERNEL_PACKAGE=linux-image-virtual
# The same from Debian packages alone.
DEBIAN_SUITE=bookworm
DEBIAN_KERNEL_PACKAGE=linux-image-amd64
`;

export type EntryInputs = {
  readonly version: string;
  readonly buildkit: Source;
  readonly runc: Source;
  readonly runcVersion: string;
  /** runc's. */
  readonly makefile: string;
  readonly toolchain: Toolchain;
  readonly goLine: string;
};

/** The text of an entry's `.env`. */
export function formatEntry(inputs: EntryInputs): string {
  const { version, buildkit, runc, makefile, runcVersion, toolchain, goLine } = inputs;
  const day = buildkit.time.toISOString().slice(0, 10);
  const unknown = unknownOf(inputs).map((what) => `# Not known: ${what}.\n`);
  return `# What the archive entry buildkit-${version} is made of, as \`npm run entry -- add ${version}\` read it from the modules of the release.
${unknown.join('')}STATE=unbuilt
BUILDKIT_VERSION=${version}
BUILDKIT_REVISION=${buildkit.commit ?? ''}
BUILDKIT_MODULE_HASH=${buildkit.hash}
RUNC_VERSION=${runcVersion}
RUNC_COMMIT=${runc.commit ? stampedCommit(makefile, runcVersion, runc.commit) : ''}
RUNC_MODULE_HASH=${runc.hash}
# BuildKit's Dockerfile names Go ${goLine}; ${toolchain.exact ? `the newest of it on ${day}` : `of what is served of it this is nearest to ${day}`}.
GO_TOOLCHAIN=${toolchain.name}
GO_TOOLCHAIN_HASH_AMD64=${toolchain.hash}
${base}`;
}

/** As runc's own Makefile writes it into the program: since 1.0.0 `git describe`, before that the commit alone. */
export function stampedCommit(makefile: string, version: string, commit: string): string {
  return makefile.includes('git describe') ? `v${version}-0-g${commit.slice(0, 8)}` : commit;
}

/** What the entry can be built without, for people. */
export function unknownOf({
  buildkit,
  runc,
  toolchain,
}: Pick<EntryInputs, 'buildkit' | 'runc' | 'toolchain'>): string[] {
  return [
    ...(buildkit.commit ? [] : ["BuildKit's revision, which its programs then do not tell"]),
    ...(runc.commit ? [] : ["runc's commit, which it then does not tell"]),
    ...(toolchain.exact ? [] : ['the exact patch of Go']),
  ];
}
