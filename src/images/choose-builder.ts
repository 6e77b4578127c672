import type { Capabilities } from '../catalog/capabilities.ts';
import type { Builds } from '../model/builds.ts';
import type { Caller } from '../model/caller.ts';
import { KilnError } from '../model/error.ts';
import { openHostBuilder } from './host-builder.ts';
import type { ImageRequest } from './image-request.ts';
import { createVmBuilder } from './vm-builder.ts';

type Choice = {
  /** KILN_IMAGE_BUILDER */
  readonly setting: 'auto' | 'vm' | 'host';
  /** What guests run on here. */
  readonly accelerator: 'kvm' | 'tcg';
  /** Of the standard entry, which builds them in a VM. */
  readonly capabilities: Pick<Capabilities, 'namedContexts' | 'ociLayouts'>;
  readonly builds: Builds;
  /** Most that a build may ask for. */
  readonly maxSeconds: number;
};

/**
 * Where rebuilds build images: in VMs of this service as a client of it, or by a buildkitd on this host, as before there were VMs.
 * @returns the builder of whoever asks for a rebuild
 */
export function chooseBuilder({
  setting,
  accelerator,
  capabilities,
  builds,
  maxSeconds,
}: Choice): (caller: Caller) => ImageRequest['openBuilder'] {
  const capable = capabilities.namedContexts && capabilities.ociLayouts;
  // Emulation takes ten times as long, and isolates nothing that this host would be kept safe from.
  const inVm = setting === 'vm' || (setting === 'auto' && accelerator === 'kvm' && capable);
  if (!inVm) return () => openHostBuilder;
  return (caller) => async (request) => {
    if (!capable)
      throw new KilnError(
        'REQUIREMENT_MISSING',
        'KILN_IMAGE_BUILDER=vm: the first of KILN_ENTRIES must be v0.11.0 or newer; older ones cannot build images.',
      );
    return createVmBuilder({ builds, caller, maxSeconds }, request);
  };
}
