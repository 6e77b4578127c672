import type { Logger } from '../lib/logger.ts';
import { KilnError } from '../model/error.ts';
import { discardTemplate, type EnsuredTemplate, ensureTemplate, isIntact } from './ensure-template.ts';
import type { Template, TemplateRequest } from './template.ts';

/** What the next VM is cloned from. */
export type CloneSource = {
  readonly template: Template;
  /** Resolves with the reason when the template turns out to be damaged: what was cloned from it is of no use. Else stays open. */
  readonly damaged: Promise<string>;
};

/**
 * Gives each VM its template. To read all of it takes seconds, so the first VM is cloned from a template that only looks
 * unchanged, and every byte of it is checked before the second VM. A damaged template is thrown away and made anew.
 */
export class TemplateSource {
  readonly #steps: TemplateSteps;
  readonly #logger: Logger;
  #current: EnsuredTemplate;
  #given = false;
  #damage = Promise.withResolvers<string>();

  constructor(first: EnsuredTemplate, options: { steps: TemplateSteps; logger: Logger }) {
    this.#current = first;
    this.#steps = options.steps;
    this.#logger = options.logger;
  }

  /** One call at a time. @throws what making a template throws; the signal's reason. */
  async take(signal: AbortSignal): Promise<CloneSource> {
    if (this.#given && !this.#current.checked) await this.#check(signal);
    this.#given = true;
    // Of a checked template nobody needs to wait for bad news.
    const damaged = this.#current.checked ? Promise.withResolvers<string>().promise : this.#damage.promise;
    return { template: this.#current.template, damaged };
  }

  async #check(signal: AbortSignal): Promise<void> {
    const { template } = this.#current;
    const intact = await this.#steps.isIntact(template, signal);
    signal.throwIfAborted();
    if (intact) {
      this.#current = { template, checked: true };
      // Nobody has bad news to wait for: a promise that stays open would keep the VMs that did for as long as the service runs.
      this.#damage = Promise.withResolvers();
      return;
    }
    const error = new KilnError('IMAGE_CORRUPT', 'The template of the VMs is damaged; another one is made.');
    this.#logger.error({ error, template: template.files.directory }, error.message);
    this.#damage.resolve(error.message);
    await this.#steps.discard(template);
    this.#current = await this.#steps.ensure(signal);
  }
}

export type TemplateSteps = {
  isIntact(template: Template, signal: AbortSignal): Promise<boolean>;
  discard(template: Template): Promise<void>;
  ensure(signal: AbortSignal): Promise<EnsuredTemplate>;
};

/** Makes the template where there is none. */
export async function openTemplateSource(
  request: TemplateRequest,
  logger: Logger,
  signal: AbortSignal,
): Promise<TemplateSource> {
  const ensure = (linked: AbortSignal): Promise<EnsuredTemplate> => ensureTemplate(request, linked);
  return new TemplateSource(await ensure(signal), {
    steps: { isIntact, discard: discardTemplate, ensure },
    logger,
  });
}
