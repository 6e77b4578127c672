import type { Capabilities } from '../catalog/capabilities.ts';
import type { StepNetwork } from '../model/build.ts';

/** What RUN steps have in the VMs that this kiln prepares. */
export const stepNetwork: StepNetwork = 'bridge';

/** The guest's end of its way out: a socket that is forwarded to kiln over the VM's ssh connection. */
export const wayOutSocket = '/run/kiln/way-out.sock';

export const cniConfigPath = '/etc/buildkit/cni.json';
export const cniPluginsDirectory = '/usr/local/lib/kiln/cni';

/**
 * Networks of steps that a VM wakes with, where its BuildKit makes them ahead: each takes a few processes. prepare.sh waits
 * for them.
 */
export function networksAhead({ networkPool }: Pick<Capabilities, 'networkPool'>): number {
  return networkPool ? 4 : 0;
}
