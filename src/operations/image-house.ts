import { dirname } from 'node:path';
import type { Entry } from '../catalog/catalog.ts';
import type { Fleet } from '../fleet/fleet.ts';
import { createFrozenVm, type WarmVm, type WarmVmOptions } from '../guest/warm-vm.ts';
import { ensureVmImage, openMadeImage } from '../images/ensure-vm-image.ts';
import { openServed } from '../images/find-images.ts';
import type { ImageRequest } from '../images/image-request.ts';
import type { MadeImages } from '../images/made-images.ts';
import { pruneImages } from '../images/prune-images.ts';
import type { ImageRef, ServedImages } from '../images/served-images.ts';
import type { Logger } from '../lib/logger.ts';
import { KilnError } from '../model/error.ts';
import type { PrunedImage, ServedImage } from '../model/operations.ts';
import type { VmImage } from '../model/vm-image.ts';
import type { Scheduler } from '../scheduler/scheduler.ts';
import type { TemplateSource } from '../vm/template-source.ts';

/** What operations do with the images of this host. */
export type ImageHouse = {
  /** Makes the image of this version, or finds it where it was made before. */
  make(
    request: Pick<ImageRequest, 'entry' | 'progress' | 'output' | 'signal'> & { readonly version: string },
  ): Promise<{ readonly image: VmImage; readonly ref: ImageRef }>;
  /** Its template, which boots it. */
  tryOut(image: VmImage, signal: AbortSignal): Promise<TemplateSource>;
  /** Removes that template where the image does not come to serve. Never rejects. */
  discard(entry: string, templates: TemplateSource): Promise<void>;
  /** One VM of it, beside those of the scheduler. */
  startVm(entry: Entry, templates: TemplateSource, signal: AbortSignal): Promise<WarmVm>;
  /** Builds run on it from now on, also after a restart. */
  serve(image: VmImage, templates: TemplateSource, ref: ImageRef): Promise<void>;
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

export type ImageHouseOptions = {
  readonly fleet: Fleet;
  readonly scheduler: Pick<Scheduler<WarmVm>, 'renew'>;
  readonly served: ServedImages;
  readonly made: MadeImages;
  readonly logger: Logger;
  readonly request: Omit<ImageRequest, 'entry' | 'version'>;
  /** Makes an image ready for what starts VMs here. */
  readonly load: (image: VmImage, signal: AbortSignal) => Promise<VmImage>;
  readonly vm: Omit<WarmVmOptions, 'template' | 'damaged' | 'capabilities'>;
};

export function createImageHouse(options: ImageHouseOptions): ImageHouse {
  const { fleet, scheduler, served, made, logger, request, load, vm } = options;
  const house: ImageHouse = {
    async make(given) {
      const image = await ensureVmImage({ ...request, ...given });
      const ref = { version: given.version, directory: dirname(image.disk) };
      await made.note(given.entry, ref);
      return { image: await load(image, given.signal), ref };
    },
    tryOut: (image, signal) => fleet.tryOut(image, signal),
    discard: (entry, templates) => fleet.discard(entry, templates),
    async startVm({ capabilities }, templates, signal) {
      const frozen = await createFrozenVm({ ...vm, capabilities, ...(await templates.take(signal)) }, signal);
      return frozen.wake(signal);
    },
    async serve(image, templates, ref) {
      await served.serve(image.entry, ref);
      const open = openServed(image.entry, { request, served, logger });
      await fleet.serve(image, templates, async (signal) => load(await open(signal), signal));
      scheduler.renew(image.entry);
    },
    async servedVersions(entry) {
      const record = await served.read(entry);
      return [record?.served, record?.previous].flatMap((ref) => (ref ? [ref.version] : []));
    },
    prune: (options) => pruneImages({ made, served }, options),
    async rollBack(entry, signal) {
      const record = await served.read(entry);
      if (!record)
        throw new KilnError('NO_PREVIOUS_IMAGE', `Builds of ${entry} never ran on another image here.`);
      const { previous: ref } = record;
      const about = { ...request, entry, version: ref?.version ?? null, signal };
      const there = await (ref ? openMadeImage(ref.directory, about) : ensureVmImage(about));
      const image = await load(there, signal);
      await house.serve(image, await house.tryOut(image, signal), ref);
      return { entry, version: about.version, imageDigest: image.digest };
    },
  };
  return house;
}
