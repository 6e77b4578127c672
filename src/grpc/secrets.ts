import { BuildSecrets, type GivenSecret } from '../model/build-secrets.ts';
import { parseRegistryConfig } from '../model/registry-accounts.ts';
import type { BuildStart, Secret } from './generated/kiln/v1/build_service.ts';

/** What the build is given that nobody may see. @throws KilnError SECRET_INVALID, PARAM_INVALID */
export function toSecrets({
  registryConfig,
  secrets,
  sshKeys,
}: Pick<BuildStart, 'registryConfig' | 'secrets' | 'sshKeys'>): BuildSecrets {
  const accounts = registryConfig === undefined ? {} : parseRegistryConfig(registryConfig, 'registryConfig');
  return BuildSecrets.of({ accounts, secrets: secrets.map(toGiven), sshKeys: sshKeys.map(toGiven) });
}

function toGiven({ id, value }: Secret): GivenSecret {
  return { id, value: Buffer.from(value) };
}
