import type { Capabilities } from '../catalog/capabilities.ts';
import type { StepNetwork } from '../model/build.ts';

/** The guest's end of its way out: a socket that is forwarded to kiln over the VM's ssh connection. */
export const wayOutSocket = '/run/kiln/way-out.sock';

export const cniConfigPath = '/etc/buildkit/cni.json';
export const cniPluginsDirectory = '/usr/local/lib/kiln/cni';

/**
 * Networks of steps that a VM wakes with, where its BuildKit makes them ahead: each takes a few processes. prepare.sh waits
 * for them.
 */
export function networksAhead(daemon: {
  readonly capabilities: Pick<Capabilities, 'networkPool'>;
  readonly stepNetwork: StepNetwork;
}): number {
  return daemon.capabilities.networkPool && daemon.stepNetwork === 'bridge' ? 4 : 0;
}
