import { dirname } from 'node:path';
import type { Logger } from '../lib/logger.ts';
import { KilnError } from '../model/error.ts';
import { corruptImage } from '../model/vm-image.ts';
import { discardTemplate, ensureTemplate } from './ensure-template.ts';
import type { Template, TemplateRequest } from './template.ts';

/** What the next VM is cloned from. */
export type CloneSource = {
  readonly template: Template;
  /** Resolves with the reason when the template turns out to be damaged: what was cloned from it is of no use. Else stays open. */
  readonly damaged: Promise<string>;
};

/**
 * Gives each VM its template. To read all of it and of its VM image takes seconds, so the first VM is cloned from files that only look
 * unchanged, and every byte of them is checked before the second VM. A damaged template is thrown away and made anew; of a damaged
 * VM image there are no more VMs.
 */
export class TemplateSource {
  readonly #steps: TemplateSteps;
  readonly #logger: Logger;
  #current: Template;
  #given = false;
  #damage = Promise.withResolvers<string>();

  constructor(first: Template, options: { steps: TemplateSteps; logger: Logger }) {
    this.#current = first;
    this.#steps = options.steps;
    this.#logger = options.logger;
  }

  /** Of the template that the next VM is cloned from. */
  get key(): string {
    return this.#current.key;
  }

  /** One call at a time. @throws IMAGE_CORRUPT: the VM image is damaged; what making a template throws; the signal's reason. */
  async take(signal: AbortSignal): Promise<CloneSource> {
    if (this.#given && !isChecked(this.#current)) await this.#check(signal);
    this.#given = true;
    // Nobody needs to wait for bad news of what is checked.
    const damaged = isChecked(this.#current) ? Promise.withResolvers<string>().promise : this.#damage.promise;
    return { template: this.#current, damaged };
  }

  /** Removes it from the disk: nothing is cloned from it any more. Never rejects. */
  discard(): Promise<void> {
    return this.#steps.discard(this.#current);
  }

  async #check(signal: AbortSignal): Promise<void> {
    const { image, sealed, files } = this.#current;
    const imageDamage = await image.sealed.check(signal);
    if (imageDamage !== null) throw this.#tell(corruptImage(image.entry, dirname(image.disk), imageDamage));
    const damage = await sealed.check(signal);
    if (damage === null) {
      // Nobody has bad news to wait for: a promise that stays open would keep the VMs that did for as long as the service runs.
      this.#damage = Promise.withResolvers();
      return;
    }
    const error = this.#tell(
      new KilnError('IMAGE_CORRUPT', 'The template of the VMs is damaged; another one is made.', {
        cause: new Error(damage),
      }),
    );
    this.#logger.error({ error, template: files.directory }, error.message);
    await this.#steps.discard(this.#current);
    this.#current = await this.#steps.ensure(signal);
  }

  /** Whoever was given a VM of it must know. */
  #tell(error: KilnError): KilnError {
    this.#damage.resolve(error.message);
    return error;
  }
}

/** A template is an overlay of its image's disk: VMs run on both. */
function isChecked({ sealed, image }: Template): boolean {
  return sealed.checked && image.sealed.checked;
}

export type TemplateSteps = {
  discard(template: Template): Promise<void>;
  ensure(signal: AbortSignal): Promise<Template>;
};

/** Makes the template where there is none. */
export async function openTemplateSource(
  request: TemplateRequest,
  logger: Logger,
  signal: AbortSignal,
): Promise<TemplateSource> {
  const ensure = (linked: AbortSignal): Promise<Template> => ensureTemplate(request, linked);
  return new TemplateSource(await ensure(signal), { steps: { discard: discardTemplate, ensure }, logger });
}
