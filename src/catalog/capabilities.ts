import { compareVersions, type Version } from './version.ts';

/**
 * The oldest release that has each of these, read from the sources of every release from v0.8.0 to v0.32.2
 * (cmd/buildctl, cmd/buildkitd, api/services/control/control.proto). All of them have `buildctl build --trace`,
 * `buildctl dial-stdio`, secrets from the environment, and the variables that lift the limits of a step's log.
 */
const since = {
  /** `buildctl build --metadata-file`. */
  metadataFile: [0, 9, 0],
  /** `--opt context:NAME=`: contexts beside the build's own (frontend/dockerfile). */
  namedContexts: [0, 10, 0],
  /** `buildctl build --oci-layout`: one of them is an image. */
  ociLayouts: [0, 11, 0],
  /** `buildctl build --source-policy-file`. */
  sourcePolicy: [0, 11, 0],
  /** `--opt attest:sbom=`, `--opt attest:provenance=`. */
  attestations: [0, 11, 0],
  /** `Control.Info`. */
  info: [0, 11, 0],
  /** `Control.ListenBuildHistory`. */
  history: [0, 11, 0],
  /** `annotation.KEY=` of an output. */
  annotations: [0, 11, 0],
  /** `compression=`, `compression-level=` and `force-compression=` of an output, zstd among them. */
  compressionOptions: [0, 10, 0],
  /** `--opt shm-size=` and `--opt ulimit=`. */
  stepLimits: [0, 10, 0],
  /** `cniPoolSize`: namespaces of steps that are made ahead. */
  networkPool: [0, 11, 0],
  /** `buildctl build --ref-file`. */
  refFile: [0, 11, 2],
  /** `buildctl build --progress=rawjson`. */
  rawJson: [0, 13, 0],
  /** `rewrite-timestamp=` of an output. */
  rewriteTimestamp: [0, 13, 0],
  /** More than one `--output`. */
  manyOutputs: [0, 13, 0],
  /** A bridge without CNI plugins of one's own. */
  bridgeNetwork: [0, 13, 0],
} as const satisfies Record<string, Version>;

/** What the BuildKit of an entry can do, beyond what all of them can. */
export type Capabilities = Readonly<Record<keyof typeof since, boolean>>;

export function capabilitiesOf(version: Version): Capabilities {
  const has = ([name, first]: [string, Version]): [string, boolean] => [
    name,
    compareVersions(version, first) >= 0,
  ];
  return Object.fromEntries(Object.entries(since).map(has)) as Capabilities;
}
