import { type Entry, findEntry } from '../catalog/catalog.ts';
import type { Logger } from '../lib/logger.ts';
import type { EntrySummary } from '../model/build.ts';
import type { CatalogItem } from '../model/catalog-item.ts';
import { KilnError } from '../model/error.ts';
import type { VmImage } from '../model/vm-image.ts';
import type { CloneSource, TemplateSource } from '../vm/template-source.ts';

export type FleetOptions = {
  readonly catalog: readonly Entry[];
  /** The entry of builds that ask for none. */
  readonly standard: string;
  /** By entry, how the VM image that this host has of it is opened. Others have not been made here. */
  readonly images: ReadonlyMap<string, (signal: AbortSignal) => Promise<VmImage>>;
  /** Makes the template where there is none. */
  readonly openTemplates: (
    entry: Entry,
    from: { image: VmImage; signal: AbortSignal },
  ) => Promise<TemplateSource>;
  /** Removes the templates of an entry that have none of these keys. */
  readonly keepTemplates: (entry: string, keys: readonly string[]) => Promise<void>;
  readonly logger: Logger;
  /** Ends what was begun for more than one build. */
  readonly signal: AbortSignal;
};

/**
 * The archive entries that this host can build with: of each the VM image and the template, opened or made when they are first
 * asked for, and then kept.
 */
export class Fleet {
  readonly #options: FleetOptions;
  readonly #images = new Map<string, Promise<VmImage>>();
  readonly #templates = new Map<string, Promise<TemplateSource>>();
  readonly #made: Map<string, (signal: AbortSignal) => Promise<VmImage>>;

  constructor(options: FleetOptions) {
    this.#options = options;
    this.#made = new Map(options.images);
  }

  /**
   * The entry that a build runs on.
   * @param asked By its caller; undefined for the standard one.
   * @throws KilnError BUILDKIT_UNKNOWN, BUILDKIT_NOT_MADE
   */
  find(asked: string | undefined): Entry {
    const { standard } = this.#options;
    const entry = this.known(asked ?? standard);
    if (this.#made.has(entry.name)) return entry;
    throw new KilnError(
      'BUILDKIT_NOT_MADE',
      `This host has no VM image of ${entry.name} yet; a caller with the role admin can make one: POST /admin/images/rebuild with {"entry":"${entry.name}"}.`,
      { details: { field: 'entry' } },
    );
  }

  /** An entry of the catalog, whether this host has an image of it or not. @throws KilnError BUILDKIT_UNKNOWN */
  known(asked: string): Entry {
    return findEntry(this.#options.catalog, asked);
  }

  /** What the record of a build says of its entry. @throws KilnError as `find`, IMAGE_CORRUPT */
  async summary(asked: string | undefined): Promise<EntrySummary> {
    const { name } = this.find(asked);
    return { name, ...imageSummary(await this.#openImage(name)) };
  }

  /** What the next VM of an entry is cloned from. One call at a time for each entry. @throws KilnError */
  async source(name: string, signal: AbortSignal): Promise<CloneSource> {
    const templates = await this.#openTemplates(this.find(name));
    try {
      return await templates.take(signal);
    } catch (error) {
      if (KilnError.from(error).code === 'IMAGE_CORRUPT') this.#forget(name);
      throw error;
    }
  }

  /** So that its first VM need not wait for that. */
  async open(name: string): Promise<void> {
    await this.#openTemplates(this.find(name));
  }

  /** The template of an image that nobody is served yet: it boots, is made ready and builds once. @throws KilnError where it does not */
  tryOut(image: VmImage, signal: AbortSignal): Promise<TemplateSource> {
    return this.#options.openTemplates(this.known(image.entry), { image, signal });
  }

  /** Removes the template of an image that was tried out and does not serve. Never rejects. */
  async discard(entry: string, templates: TemplateSource): Promise<void> {
    const serves = await this.#templates.get(entry)?.catch(() => null);
    // The same image made again has the same template.
    if (serves?.key !== templates.key) await templates.discard();
  }

  /**
   * What is asked for from now on comes from this image; VMs that there are stay what they are. The template before it is kept, so
   * that the way back is short.
   * @param open How what the entry serves is opened, for an entry that had no image before.
   */
  async serve(
    image: VmImage,
    templates: TemplateSource,
    open: (signal: AbortSignal) => Promise<VmImage>,
  ): Promise<void> {
    const { entry } = image;
    const before = await this.#templates.get(entry)?.catch(() => null);
    if (!this.#made.has(entry)) this.#made.set(entry, open);
    this.#images.set(entry, Promise.resolve(image));
    this.#templates.set(entry, Promise.resolve(templates));
    await this.#options.keepTemplates(entry, [templates.key, ...(before ? [before.key] : [])]);
  }

  /** The whole catalog, oldest first; an entry whose image is damaged has none. */
  async list(): Promise<CatalogItem[]> {
    const { catalog, standard } = this.#options;
    const describe = async ({ name, state, pins, derivation }: Entry): Promise<CatalogItem> => ({
      ...{ entry: name, state, pins, standard: name === standard },
      derivedFrom: derivation?.base ?? null,
      image: this.#made.has(name) ? await this.#summaryUnlessDamaged(name) : null,
    });
    return Promise.all(catalog.map(describe));
  }

  /** One damaged image must not hide all others. */
  async #summaryUnlessDamaged(name: string): Promise<CatalogItem['image']> {
    try {
      return imageSummary(await this.#openImage(name));
    } catch (thrown) {
      const error = KilnError.from(thrown);
      if (error.code !== 'IMAGE_CORRUPT') throw error;
      this.#options.logger.error({ error, entry: name }, error.message);
      return null;
    }
  }

  /** Its image turned out to be damaged: whoever asks next opens it anew, and is told so until it was made good. */
  #forget(name: string): void {
    this.#templates.delete(name);
    this.#images.delete(name);
  }

  #openImage(name: string): Promise<VmImage> {
    return once(this.#images, name, async () => {
      const open = this.#made.get(name);
      if (!open) throw new Error(`${name} was not looked for with find()`);
      return open(this.#options.signal);
    });
  }

  #openTemplates(entry: Entry): Promise<TemplateSource> {
    return once(this.#templates, entry.name, async () => {
      const image = await this.#openImage(entry.name);
      const templates = await this.#options.openTemplates(entry, { image, signal: this.#options.signal });
      await this.#options.keepTemplates(entry.name, [templates.key]);
      return templates;
    });
  }
}

function imageSummary({ digest, versions }: VmImage): Omit<EntrySummary, 'name'> {
  return { imageDigest: digest, versions };
}

/** Kept once it is there; what failed is tried again by the next who asks. */
function once<T>(kept: Map<string, Promise<T>>, name: string, make: () => Promise<T>): Promise<T> {
  const there = kept.get(name);
  if (there) return there;
  const made = make();
  kept.set(name, made);
  made.catch(() => kept.delete(name));
  return made;
}
