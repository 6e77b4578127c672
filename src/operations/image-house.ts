import { dirname } from 'node:path';
import type { Entry } from '../catalog/catalog.ts';
import { ensureSigningKey } from '../evidence/signing-key.ts';
import type { Fleet } from '../fleet/fleet.ts';
import { createFrozenVm, type WarmVm, type WarmVmOptions } from '../guest/warm-vm.ts';
import { type CtrImage, ensureCtrImage } from '../images/ctr-image.ts';
import { type DqdImage, ensureDqdImage } from '../images/dqd-image.ts';
import { ensureVmImage, openMadeImage } from '../images/ensure-vm-image.ts';
import { attachEvidence } from '../images/evidence/attach-evidence.ts';
import { compareImages } from '../images/evidence/compare-images.ts';
import {
  type Evidence,
  ensureRebuildEvidence,
  readEvidence,
  type Signing,
} from '../images/evidence/rebuild-evidence.ts';
import { openServed } from '../images/find-images.ts';
import { firstImageOf, type HostImageRequest, type ImageRequest } from '../images/image-request.ts';
import type { MadeImages } from '../images/made-images.ts';
import { readTarDigest } from '../images/oci-layout.ts';
import { pruneImages } from '../images/prune-images.ts';
import {
  type ImageToPublish,
  type PublishedImage,
  publishImages,
  refusePublished,
} from '../images/publish/publish-images.ts';
import { ensureRegistryProgram } from '../images/publish/registry-program.ts';
import type { PublishedKind } from '../images/publish/tags.ts';
import type { ImageRef, ServedImages } from '../images/served-images.ts';
import type { Logger } from '../lib/logger.ts';
import type { Caller } from '../model/caller.ts';
import { KilnError } from '../model/error.ts';
import type { EvidenceKind, PrunedImage, ServedImage } from '../model/operations.ts';
import type { VmImage } from '../model/vm-image.ts';
import { openRegistry, type Registry } from '../registry/registry.ts';
import { parseRepository } from '../registry/repository.ts';
import type { Scheduler } from '../scheduler/scheduler.ts';
import type { TemplateSource } from '../vm/template-source.ts';
import { type CheckBuild, readCheckBuilds } from './check-builds.ts';

/** Which images are made, and who follows that. */
export type Making = Pick<ImageRequest, 'entry' | 'args' | 'noCache' | 'progress' | 'output' | 'signal'> & {
  readonly version: string;
  /** Whose builds make them, where builds do. */
  readonly caller: Caller;
};

/** What operations do with the images of this host. Each image is made, or found where it was made before. */
export type ImageHouse = {
  /** Whether VMs here are containers: no VM image serves without its dqd image. */
  readonly needsDqd: boolean;
  makeCtr(making: Making): Promise<Pick<CtrImage, 'layout' | 'digest'>>;
  makeVm(making: Making): Promise<MadeVm>;
  makeDqd(
    making: Making,
    vm: MadeVm,
  ): Promise<Pick<DqdImage, 'reference' | 'tar'> & { readonly digest: string }>;
  /** Its template, which boots it. */
  tryOut(vm: MadeVm, signal: AbortSignal): Promise<TriedOut>;
  /** Removes that template where the image does not come to serve. Never rejects. */
  discard(entry: string, templates: TemplateSource): Promise<void>;
  /**
   * Room for one VM among those of builds, for as long as an image is tried out.
   * @param options.onPlace As of `Scheduler.takeRoom`.
   */
  takeRoom(options: { onPlace: (place: number) => void; signal: AbortSignal }): Promise<Disposable>;
  /** One VM of it, which needs that room. */
  startVm(entry: Entry, templates: TemplateSource, signal: AbortSignal): Promise<WarmVm>;
  /** What it must build. */
  checks(): Promise<readonly CheckBuild[]>;
  /** Tells, beside the VM image and signed, what the images are made of. Of what is published already it stays as it is. */
  sign(making: Making, images: Signed): Promise<Evidence>;
  /** What was so told of the VM image of this digest; null where nothing was, or it was removed. */
  readEvidence(
    image: { entry: string; version: string; digest: string },
    kind: EvidenceKind,
  ): Promise<string | null>;
  /** That this version can be published there. @throws KilnError as `refusePublished` */
  refusePublished(making: Making, publishing: ToPublish): Promise<void>;
  /** In this repository, under the version and under the entry's aliases. @throws KilnError as `publishImages` */
  publish(making: Making, images: Publishing): Promise<readonly PublishedImage[]>;
  /** Builds run on it from now on, also after a restart. */
  serve(tried: TriedOut, ref: ImageRef): Promise<void>;
  /** Of the images that an entry serves and that it served before. */
  servedVersions(entry: string): Promise<readonly string[]>;
  /** @param options As those of `pruneImages`. */
  prune(options: {
    claim: (entry: string) => Disposable | null;
    dryRun: boolean;
  }): Promise<readonly PrunedImage[]>;
  /** @throws KilnError NO_PREVIOUS_IMAGE */
  rollBack(entry: string, signal: AbortSignal): Promise<ServedImage>;
};

/** What is going to be published. */
export type ToPublish = {
  readonly repo: string;
  readonly kinds: readonly PublishedKind[];
  /** Digests of images that earlier operations made of this version: what there is of them may be theirs. */
  readonly ours: readonly string[];
};

export type Publishing = {
  readonly repo: string;
  readonly images: readonly ImageToPublish[];
  /** Is attached to each; null where there is none. */
  readonly evidence: Evidence | null;
};

/** What a rebuild made, and the operation that it is. */
export type Signed = {
  readonly vm: MadeVm;
  /** Digest of its manifest; null where none was made. */
  readonly dqd: string | null;
  readonly operation: { readonly id: string; readonly started: string };
};

/** A VM image as it lies in the cache. */
export type MadeVm = { readonly image: VmImage; readonly ref: NonNullable<ImageRef> };

/** A VM image as this host's VMs find it, and its template. */
export type TriedOut = { readonly image: VmImage; readonly templates: TemplateSource };

export type ImageHouseOptions = {
  readonly fleet: Fleet;
  readonly scheduler: Pick<Scheduler<WarmVm>, 'renew' | 'takeRoom'>;
  readonly served: ServedImages;
  readonly made: MadeImages;
  readonly logger: Logger;
  readonly request: HostImageRequest;
  readonly containers: boolean;
  readonly registries: {
    /** Path of the docker config.json with their accounts; null for none. */
    readonly config: string | null;
    /** Those that are spoken to over plain HTTP, as of `parseRepository`. */
    readonly insecure: readonly string[];
  };
  /** Who signs what is told of images. */
  readonly signing: Signing;
  /** What builds the images that somebody asks for. */
  readonly builderOf: (caller: Caller) => ImageRequest['openBuilder'];
  /** Makes an image ready for what starts VMs here. */
  readonly load: (image: VmImage, signal: AbortSignal) => Promise<VmImage>;
  /** The engine, where there is one, forgets a dqd image, unless VMs of it still run. */
  readonly unload: (reference: string) => Promise<void>;
  readonly vm: Omit<WarmVmOptions, 'template' | 'damaged' | 'capabilities'>;
};

export function createImageHouse(options: ImageHouseOptions): ImageHouse {
  const { fleet, scheduler, served, made, logger, request, load, unload, vm } = options;
  const requestOf = ({ caller, ...making }: Making): ImageRequest => ({
    ...{ ...request, ...making },
    openBuilder: options.builderOf(caller),
  });
  const tryOut = async (there: VmImage, signal: AbortSignal): Promise<TriedOut> => {
    const image = await load(there, signal);
    return { image, templates: await fleet.tryOut(image, signal) };
  };
  const openRepository = async (
    repo: string,
    context: Pick<Making, 'progress' | 'output' | 'signal'>,
  ): Promise<{ registry: Registry; say: (line: string) => void }> => {
    const { config, insecure } = options.registries;
    const say = (line: string): void => context.progress(`publish  ${line}`);
    const program = await ensureRegistryProgram({ ...request, ...context });
    const repository = parseRepository(repo, insecure);
    return { say, registry: openRegistry({ repository, config, say, program }) };
  };
  const house: ImageHouse = {
    needsDqd: options.containers,
    async makeCtr(making) {
      const ctr = await ensureCtrImage(requestOf(making));
      await made.note(making.entry, { kind: 'ctr', version: making.version, directory: ctr.directory });
      return ctr;
    },
    async makeVm(making) {
      const { entry, version } = making;
      const image = await ensureVmImage(requestOf(making));
      const ref = { version, directory: dirname(image.disk) };
      await made.note(entry, { kind: 'vm', ...ref });
      return { image, ref };
    },
    async makeDqd(making, { image }) {
      const { entry, version, signal } = making;
      const dqd = await ensureDqdImage(requestOf(making), image);
      await made.note(entry, { kind: 'dqd', version, directory: dqd.directory });
      return { ...dqd, digest: await readTarDigest(dqd.tar, signal) };
    },
    tryOut: ({ image }, signal) => tryOut(image, signal),
    takeRoom: (options) => scheduler.takeRoom(options),
    discard: (entry, templates) => fleet.discard(entry, templates),
    async startVm({ capabilities }, templates, signal) {
      const frozen = await createFrozenVm({ ...vm, capabilities, ...(await templates.take(signal)) }, signal);
      return frozen.wake(signal);
    },
    async sign(making, { vm: { image }, dqd, operation }) {
      const asked = { ...requestOf(making), version: making.version };
      const { signing } = options;
      const evidence = await ensureRebuildEvidence(asked, { vm: image, dqd }, { signing, operation });
      const before = (await served.read(making.entry))?.served;
      if (before && before.directory !== evidence.directory) {
        const { publicKey } = await ensureSigningKey(signing.keyDirectory);
        const folders = { before: before.directory, now: evidence.directory };
        for (const line of await compareImages(folders, publicKey)) making.progress(`compare  ${line}`);
      }
      return evidence;
    },
    async readEvidence({ entry, version, digest }, kind) {
      const images = await made.list();
      const same = images.filter(
        (one) => one.kind === 'vm' && one.entry === entry && one.version === version,
      );
      return readEvidence(
        same.map(({ directory }) => directory),
        digest,
        kind,
      );
    },
    async refusePublished({ entry, version, ...context }, { repo, kinds, ours }) {
      const { registry } = await openRepository(repo, context);
      await refusePublished({ entry, version, kinds, ours }, registry, context.signal);
    },
    async publish({ entry, version, ...context }, { repo, images, evidence }) {
      const { registry, say } = await openRepository(repo, context);
      const published = await publishImages({ entry, version, images }, { registry, say }, context.signal);
      if (evidence) await attachEvidence(published, evidence, { registry, say, signal: context.signal });
      return published;
    },
    checks: () => readCheckBuilds(request.imagesDirectory),
    async serve({ image, templates }, ref) {
      await served.serve(image.entry, ref);
      const open = openServed(image.entry, { request, served, logger });
      await fleet.serve(image, templates, async (signal) => load(await open(signal), signal));
      scheduler.renew(image.entry);
    },
    async servedVersions(entry) {
      const record = await served.read(entry);
      return [record?.served, record?.previous].flatMap((ref) => (ref ? [ref.version] : []));
    },
    prune: (options) => pruneImages({ made, served, unload }, options),
    async rollBack(entry, signal) {
      const record = await served.read(entry);
      if (!record)
        throw new KilnError('NO_PREVIOUS_IMAGE', `Builds of ${entry} never ran on another image here.`);
      const { previous: ref } = record;
      const about = { ...firstImageOf(entry, request), signal };
      const there = await (ref
        ? openMadeImage(ref.directory, { ...about, version: ref.version })
        : ensureVmImage(about));
      const tried = await tryOut(there, signal);
      await house.serve(tried, ref);
      return { entry, version: ref?.version ?? null, imageDigest: tried.image.digest };
    },
  };
  return house;
}
