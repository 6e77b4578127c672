import { createHash } from 'node:crypto';
import { z } from 'zod';
import { nameOf, type Repository } from './repository.ts';
import { type Retries, standardWaitsMs, withRetries } from './retries.ts';
import { type PushProgress, runProgram } from './run-program.ts';

/** `sha256:…` */
export type Digest = string;

/** An image in an OCI image layout. */
export type LayoutImage = {
  /** The layout's folder, or a tar of it. */
  readonly layout: string;
  /** Of the image's manifest (or index) in it. */
  readonly digest: Digest;
};

/** A file that tells something of an image. */
export type Referrer = {
  readonly artifactType: string;
  /** Of the file. */
  readonly mediaType: string;
  /** At most a few megabytes. */
  readonly file: string;
  readonly title: string;
  /** RFC 3339; the same one makes the same referrer, which is there once. */
  readonly created: string;
};

/** One repository. Whatever takes a signal throws its reason on abort, and else what `withRetries` throws. */
export type Registry = {
  readonly repository: Repository;
  /** Pushes an image under its digest alone; what is there is not sent again. */
  push(image: LayoutImage, what: string, signal: AbortSignal): Promise<void>;
  /** The digest of what a tag or digest leads to, of the bytes themselves, whatever the registry calls them; null where there is none. */
  digestOf(reference: string, signal: AbortSignal): Promise<Digest | null>;
  /** Sets a tag on what is there, wherever it was before. */
  tag(digest: Digest, tag: string, signal: AbortSignal): Promise<void>;
  /** Makes a file a referrer of an image that is there. @returns the digest of its manifest */
  attach(subject: Digest, referrer: Referrer, signal: AbortSignal): Promise<Digest>;
  /** What refers to an image. */
  referrers(
    subject: Digest,
    signal: AbortSignal,
  ): Promise<readonly { readonly digest: Digest; readonly artifactType: string }[]>;
};

export type RegistryOptions = Pick<Retries, 'say'> & {
  /** As of `Retries`; three tries by default. */
  readonly waitsMs?: readonly number[];
  /** How long it may say nothing while an answer is waited for. Default: five minutes, as it hashes a layer before it answers. */
  readonly silenceMs?: number;
  /** Path of the program of ./program. */
  readonly program: string;
  readonly repository: Repository;
  /** Path of a docker config.json, whose `auths` are read; null for none. */
  readonly config: string | null;
};

const manifestSchema = z.object({ bytes: z.base64() }).nullable();
const attachedSchema = z.object({ digest: z.string() });
const referrersSchema = z.array(z.object({ digest: z.string(), artifactType: z.string() }));

export function openRegistry(options: RegistryOptions): Registry {
  const { program, repository, config, say, waitsMs = standardWaitsMs, silenceMs = 300_000 } = options;
  const ask = (
    request: object,
    { what, signal, ...rest }: { what: string; signal: AbortSignal; onProgress?: (at: PushProgress) => void },
  ): Promise<unknown> => {
    const { plainHttp } = repository;
    const where = { repository: nameOf(repository), plainHttp, config: config ?? '', silenceMs };
    const work = (): Promise<unknown> => runProgram(program, { ...where, ...request }, { ...rest, signal });
    return withRetries(work, { host: repository.host, what }, { waitsMs, say, signal });
  };
  return {
    repository,
    async push({ layout, digest }, what, signal) {
      const onProgress = (at: PushProgress): void => say(`${what}: ${describe(at)}`);
      await ask({ push: { source: layout, digest } }, { what, signal, onProgress });
    },
    async digestOf(reference, signal) {
      const answer = await ask({ manifest: { reference } }, { what: `reading ${reference}`, signal });
      const manifest = manifestSchema.parse(answer);
      if (!manifest) return null;
      return `sha256:${createHash('sha256').update(Buffer.from(manifest.bytes, 'base64')).digest('hex')}`;
    },
    async tag(digest, tag, signal) {
      await ask({ tag: { digest, tag } }, { what: `setting the tag ${tag}`, signal });
    },
    async attach(subject, referrer, signal) {
      const what = `attaching ${referrer.title} to ${subject}`;
      return attachedSchema.parse(await ask({ attach: { subject, ...referrer } }, { what, signal })).digest;
    },
    async referrers(subject, signal) {
      const what = `reading what refers to ${subject}`;
      return referrersSchema.parse(await ask({ referrers: { subject } }, { what, signal }));
    },
  };
}

function describe({ what, digest, bytes }: PushProgress): string {
  const size = `${(bytes / 1e6).toFixed(1)} MB`;
  if (what === 'sent') return `${size} sent`;
  const blob = digest.slice(0, 'sha256:'.length + 12);
  return what === 'there' ? `${blob} is there already` : `${what} ${blob}, ${size}`;
}
