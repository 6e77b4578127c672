import { stat } from 'node:fs/promises';
import { exists } from '../lib/files.ts';
import { KilnError } from '../model/error.ts';
import type { CommandContext } from './command.ts';

/**
 * The data folder that commands change beside the service. Another user's files the service could not read.
 * @throws KilnError CONFIG_INVALID where it belongs to another user
 */
export async function ownDataFolder({ config, uid }: CommandContext): Promise<string> {
  const owner = (await exists(config.dataDirectory)) ? (await stat(config.dataDirectory)).uid : uid;
  if (owner === uid) return config.dataDirectory;
  throw new KilnError(
    'CONFIG_INVALID',
    `${config.dataDirectory} belongs to the user ${owner}; run this as that user, or set KILN_DATA_DIR.`,
  );
}
