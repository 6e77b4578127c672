/** What an image was made of, by a digest that says exactly which. */
export type Dependency = {
  readonly name: string;
  readonly uri: string;
  /** By algorithm; `dirHash` is Go's hash of a module (in-toto attestation, digest_set.md). */
  readonly digest: Readonly<Record<string, string>>;
};

/** A file beside the evidence, or an image in a registry. */
export type Subject = {
  /** Of a file its name, of an image its version tag. */
  readonly name: string;
  readonly sha256: string;
  readonly kind: 'file' | 'image';
};

/** What was made on the way: a program, or a layer of an image. */
export type Byproduct = { readonly name: string; readonly sha256: string };

export type ProvenanceRequest = {
  readonly subjects: readonly Subject[];
  readonly byproducts: readonly Byproduct[];
  /** What was asked for. */
  readonly parameters: Readonly<Record<string, unknown>>;
  readonly dependencies: readonly Dependency[];
  /** The installation that made it. */
  readonly installation: string;
  readonly operation: string;
  /** RFC 3339. */
  readonly started: string;
  readonly ended: string;
};

export const statementType = 'https://in-toto.io/Statement/v1';

/** How an image was made: an in-toto Statement v1 with SLSA provenance v1 (https://slsa.dev/spec/v1.0/provenance). */
export function createProvenance(request: ProvenanceRequest): object {
  const { subjects, byproducts, parameters, dependencies, installation, operation, started, ended } = request;
  return {
    _type: statementType,
    subject: subjects.map(({ name, sha256, kind }) => ({
      name,
      digest: { sha256 },
      // https://github.com/package-url/purl-spec: images by the digest of their manifest.
      ...(kind === 'image' ? { uri: `pkg:oci/${name}@${encodeURIComponent(`sha256:${sha256}`)}` } : {}),
    })),
    predicateType: 'https://slsa.dev/provenance/v1',
    predicate: {
      buildDefinition: {
        buildType: 'urn:kiln:rebuild:v1',
        externalParameters: parameters,
        internalParameters: {},
        resolvedDependencies: dependencies,
      },
      runDetails: {
        builder: { id: `urn:kiln:installation:${installation}` },
        metadata: { invocationId: `urn:kiln:operation:${operation}`, startedOn: started, finishedOn: ended },
        byproducts: byproducts.map(({ name, sha256 }) => ({ name, digest: { sha256 } })),
      },
    },
  };
}

/** A module's `h1:…` of go.sum in the words of an in-toto digest: hexadecimal, and no prefix. */
export function toDirHash(hash: string): { dirHash: string } {
  return { dirHash: Buffer.from(hash.replace(/^h1:/, ''), 'base64').toString('hex') };
}

/** Whether a subject of a statement is a file that lies beside it. */
export function isFile({ uri }: { uri?: string | undefined }): boolean {
  return uri === undefined;
}
