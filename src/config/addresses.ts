import { once } from 'node:events';
import { createServer } from 'node:net';
import { KilnError } from '../model/error.ts';
import { splitAddress } from './config.ts';

/**
 * Listens and stops listening: an address that cannot be had is told at once, and not after a first set-up, which takes minutes.
 * @throws KilnError CONFIG_INVALID
 */
export async function refuseTakenAddress(setting: string, text: string): Promise<void> {
  const { host, port } = splitAddress(text);
  await using server = createServer();
  try {
    await once(server.listen(port, host), 'listening');
  } catch (error) {
    const taken = error instanceof Error && 'code' in error && error.code === 'EADDRINUSE';
    const why = taken
      ? 'another program listens there (another kiln?)'
      : error instanceof Error
        ? error.message
        : '';
    throw new KilnError(
      'CONFIG_INVALID',
      `Cannot listen on ${text}: ${why}. Set ${setting} to another address.`,
      {
        cause: error,
      },
    );
  }
}
