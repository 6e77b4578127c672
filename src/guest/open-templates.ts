import type { Capabilities } from '../catalog/capabilities.ts';
import type { Logger } from '../lib/logger.ts';
import type { StepNetwork } from '../model/build.ts';
import type { VmImage } from '../model/vm-image.ts';
import type { SshKeyPair } from '../ssh/keys.ts';
import { openTemplateSource, type TemplateSource } from '../vm/template-source.ts';
import type { VmSetup } from '../vm/vm.ts';
import { readGuestFiles } from './guest-files.ts';
import { createGuestPreparation } from './prepare-guest.ts';

/** What the guests of all templates of this service have in common. */
export type GuestSetup = {
  readonly setup: VmSetup;
  readonly keys: SshKeyPair;
  /** Lines of buildkitd.toml that name the mirrors. */
  readonly registryConfig: string;
  /** Folder of the relay and the CNI plugins. */
  readonly networkPrograms: string;
  /** In PEM: whom buildkitd and its git trust beside those that everybody does. */
  readonly authorities: readonly string[];
  readonly stepNetwork: StepNetwork;
  readonly progress: (line: string) => void;
  readonly logger: Logger;
};

/** Opens the templates of one VM image, whose BuildKit can do this. */
export async function openTemplates(
  { setup, keys, stepNetwork, progress, logger, ...guest }: GuestSetup,
  { capabilities, image }: { readonly capabilities: Capabilities; readonly image: VmImage },
  signal: AbortSignal,
): Promise<TemplateSource> {
  const files = await readGuestFiles({ ...guest, capabilities, stepNetwork });
  const preparation = createGuestPreparation(files, { keys, capabilities, stepNetwork });
  const request = { setup, image, authorizedKey: keys.publicKey, preparation, progress };
  return openTemplateSource(request, logger, signal);
}
