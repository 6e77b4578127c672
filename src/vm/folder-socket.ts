import { once } from 'node:events';
import { chmod, chown, open } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { basename, dirname } from 'node:path';
import type { ProcessUser } from './launcher.ts';

/**
 * Listens on a socket in a folder that QEMU works in, for its user alone. Disposing closes it and removes its file.
 * @param path Of any length: that of a socket has 107 bytes at most, so both sides name it by its folder.
 */
export async function listenForQemu(
  { path, user }: { path: string; user: ProcessUser },
  signal: AbortSignal,
): Promise<AsyncDisposable & { readonly server: Server }> {
  await using undo = new AsyncDisposableStack();
  const folder = undo.use(await open(dirname(path), 'r'));
  // Node removes the socket's file when the server closes, by the name it was given here.
  const server = undo.use(createServer());
  server.listen(`/proc/self/fd/${folder.fd}/${basename(path)}`);
  await once(server, 'listening', { signal });
  await chmod(path, 0o600);
  if (user) await chown(path, user.uid, user.gid);
  const resources = undo.move();
  return { server, [Symbol.asyncDispose]: () => resources.disposeAsync() };
}
