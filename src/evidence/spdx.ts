import type { DebianPackage } from './debian-packages.ts';
import type { GoModule } from './go-modules.ts';

/** What is in an image, and what the document is called. */
export type SbomRequest = {
  /** Such as `buildkit-v0.20.2_v0.1.0`. */
  readonly name: string;
  /** A URI that no other document has. */
  readonly namespace: string;
  /** RFC 3339. */
  readonly created: string;
  /** Of the image's manifest, `sha256:…`. */
  readonly imageDigest: string;
  /** As os-release names it, such as `Debian GNU/Linux 12 (bookworm)`. */
  readonly distribution: string;
  readonly packages: readonly DebianPackage[];
  /** What was built from modules: BuildKit, runc, and the toolchain that did. */
  readonly programs: readonly GoModule[];
  /** What is in those programs. */
  readonly modules: readonly GoModule[];
};

type Item = {
  readonly name: string;
  readonly version: string;
  readonly purl: string;
  readonly source?: string;
};

const imageId = 'SPDXRef-Image';

/** A software bill of materials in SPDX 2.3 (https://spdx.github.io/spdx-spec/v2.3/), as JSON. */
export function createSbom(request: SbomRequest): object {
  const { name, namespace, created, imageDigest, distribution } = request;
  const [vendor = 'debian'] = distribution.toLowerCase().split(' ');
  const contained = [
    ...request.programs.map((one) => goItem(one)),
    ...request.packages.map((one) => debianItem(one, vendor)),
    ...request.modules.map((one) => goItem(one)),
  ].map((item, index) => describe(item, `SPDXRef-${index + 1}`));
  const image = {
    ...describe(
      { name, version: imageDigest, purl: `pkg:oci/${name}@${encodeURIComponent(imageDigest)}` },
      imageId,
    ),
    primaryPackagePurpose: 'CONTAINER',
    checksums: [{ algorithm: 'SHA256', checksumValue: imageDigest.replace('sha256:', '') }],
    comment: `A virtual machine's root file system: ${distribution}.`,
  };
  return {
    spdxVersion: 'SPDX-2.3',
    dataLicense: 'CC0-1.0',
    SPDXID: 'SPDXRef-DOCUMENT',
    name,
    documentNamespace: namespace,
    creationInfo: { created, creators: ['Tool: kiln'] },
    packages: [image, ...contained],
    relationships: [
      relate('SPDXRef-DOCUMENT', 'DESCRIBES', imageId),
      ...contained.map(({ SPDXID }) => relate(imageId, 'CONTAINS', SPDXID)),
    ],
  };
}

function describe({ name, version, purl, source }: Item, id: string) {
  return {
    SPDXID: id,
    name,
    versionInfo: version,
    downloadLocation: 'NOASSERTION',
    filesAnalyzed: false,
    licenseConcluded: 'NOASSERTION',
    licenseDeclared: 'NOASSERTION',
    copyrightText: 'NOASSERTION',
    ...(source === undefined ? {} : { sourceInfo: source }),
    externalRefs: [{ referenceCategory: 'PACKAGE-MANAGER', referenceType: 'purl', referenceLocator: purl }],
  };
}

function relate(from: string, relationshipType: string, to: string): object {
  return { spdxElementId: from, relationshipType, relatedSpdxElement: to };
}

function debianItem({ name, version, architecture }: DebianPackage, vendor: string): Item {
  const purl = `pkg:deb/${vendor}/${encodeURIComponent(name)}@${encodeURIComponent(version)}?arch=${architecture}`;
  return { name, version, purl };
}

function goItem({ path, version, hash }: GoModule): Item {
  return {
    name: path,
    version,
    purl: goPurl(path, version),
    ...(hash === null ? {} : { source: `go.sum ${hash}` }),
  };
}

/** https://github.com/package-url/purl-spec: what names a Go module. */
export function goPurl(path: string, version: string): string {
  const words = path.split('/').map(encodeURIComponent).join('/');
  return `pkg:golang/${words}@${encodeURIComponent(version)}`;
}
