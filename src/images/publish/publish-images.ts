import { KilnError } from '../../model/error.ts';
import type { Digest, LayoutImage, Registry } from '../../registry/registry.ts';
import { nameOf } from '../../registry/repository.ts';
import { aliasOf, type PublishedKind, versionTagOf } from './tags.ts';

export type ImageToPublish = LayoutImage & { readonly kind: PublishedKind };

export type PublishRequest = {
  /** Such as `buildkit-v0.20.2`. */
  readonly entry: string;
  /** Such as `v0.1.0`. */
  readonly version: string;
  /** At least one, each of another kind. */
  readonly images: readonly ImageToPublish[];
};

export type PublishedImage = {
  readonly kind: PublishedKind;
  readonly digest: Digest;
  /** Such as `registry.example.org/archive/kiln:buildkit-v0.20.2_v0.1.0`; it means this image for good. */
  readonly reference: string;
  /** The same repository's moving tag, which leads to this image until a newer one is published. */
  readonly alias: string;
};

/**
 * Pushes the images of one version, reads each back, and only then moves the aliases to them: whoever follows an alias gets the
 * version before or this one, whole, at any time. What an earlier call did is found done, so that one that was cut short is simply
 * called again.
 * @param say A line for people.
 * @throws KilnError VERSION_EXISTS where a tag of this version is another image's, before anything is pushed; DIGEST_MISMATCH where
 * the registry gives back something else than it was sent; and what `Registry` throws
 */
export async function publishImages(
  { entry, version, images }: PublishRequest,
  { registry, say }: { registry: Registry; say: (line: string) => void },
  signal: AbortSignal,
): Promise<PublishedImage[]> {
  const planned = images.map((image) => ({
    ...image,
    tag: versionTagOf(image.kind, entry, version),
    alias: aliasOf(image.kind, entry),
  }));
  const missing = [];
  for (const image of planned) {
    if (await isPublished(image, registry, signal)) say(`${image.tag}: there already, ${image.digest}`);
    else missing.push(image);
  }
  for (const { tag, ...image } of missing) {
    await registry.push(image, `pushing ${tag}`, signal);
    // Once more, as what was pushed may have taken minutes: a registry sets a tag for whoever comes last.
    if (await isPublished({ tag, ...image }, registry, signal)) continue;
    await registry.tag(image.digest, tag, signal);
  }
  for (const { tag, digest } of planned) {
    await readBack(tag, digest, { registry, signal });
    say(`${tag}: read back, ${digest}`);
  }
  for (const { alias, digest } of planned) {
    if ((await registry.digestOf(alias, signal)) !== digest) await registry.tag(digest, alias, signal);
    await readBack(alias, digest, { registry, signal });
    say(`${alias}: leads to ${version} now`);
  }
  const repository = nameOf(registry.repository);
  return planned.map(({ kind, digest, tag, alias }) => ({
    ...{ kind, digest },
    reference: `${repository}:${tag}`,
    alias: `${repository}:${alias}`,
  }));
}

/**
 * Before anything is made, which takes minutes: that no tag of this version is another image's.
 * @throws KilnError VERSION_EXISTS; and what `Registry` throws
 */
export async function refusePublished(
  {
    entry,
    version,
    kinds,
    ours,
  }: {
    readonly entry: string;
    readonly version: string;
    readonly kinds: readonly PublishedKind[];
    /** Digests that a tag may have already, as an earlier try got that far. */
    readonly ours: readonly Digest[];
  },
  registry: Registry,
  signal: AbortSignal,
): Promise<void> {
  for (const kind of kinds) {
    const tag = versionTagOf(kind, entry, version);
    const there = await registry.digestOf(tag, signal);
    if (there !== null && !ours.includes(there))
      throw versionExists(registry, tag, `another image (${there})`);
  }
}

async function isPublished(
  { tag, digest }: { tag: string; digest: Digest },
  registry: Registry,
  signal: AbortSignal,
): Promise<boolean> {
  const there = await registry.digestOf(tag, signal);
  if (there === null) return false;
  if (there === digest) return true;
  throw versionExists(registry, tag, `another image (${there}, not ${digest})`);
}

function versionExists({ repository }: Registry, tag: string, which: string): KilnError {
  return new KilnError(
    'VERSION_EXISTS',
    `${nameOf(repository)} has ${tag} already, ${which}; a version means one image for good, so name another version.`,
  );
}

async function readBack(
  tag: string,
  digest: Digest,
  { registry, signal }: { registry: Registry; signal: AbortSignal },
): Promise<void> {
  const there = await registry.digestOf(tag, signal);
  if (there === digest) return;
  throw new KilnError(
    'DIGEST_MISMATCH',
    `${nameOf(registry.repository)} answers to ${tag} with ${there ?? 'nothing'}, and ${digest} was pushed: something else moved the tag, or the registry does not keep what it is sent.`,
  );
}
