/** What BuildKit's own Dockerfile says that its release was built with. */
export type ReleaseRecipe = {
  /** Without `v`. */
  readonly runc: string;
  /** Two numbers, such as `1.20`: the patch was whatever the image of that name had on the day. */
  readonly goLine: string;
};

/** @throws Error that names what the Dockerfile does not say */
export function parseReleaseRecipe(dockerfile: string): ReleaseRecipe {
  const runc = /^ARG RUNC_VERSION=v(\S+)$/m.exec(dockerfile)?.[1];
  if (!runc) throw new Error("BuildKit's Dockerfile has no ARG RUNC_VERSION");
  const goLine =
    /^ARG GO_VERSION=(\d+\.\d+)/m.exec(dockerfile)?.[1] ??
    // Before there was an argument: the stage that the programs are built in.
    /^FROM (?:--platform=\S+ )?(?:docker\.io\/library\/)?golang:(\d+\.\d+)\S* AS (?:golatest|gobuild-minimal)$/m.exec(
      dockerfile,
    )?.[1];
  if (!goLine) throw new Error("BuildKit's Dockerfile does not say which Go it takes");
  return { runc, goLine };
}
