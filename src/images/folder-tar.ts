import { type PipedProcess, startPiped, waitForEnd } from '../lib/process/start-process.ts';
import { KilnError } from '../model/error.ts';

/**
 * A folder of this host as a tar, as it is read; the same files make the same bytes, whoever owns them and whenever they were written.
 * @throws KilnError INFRA; the signal's reason
 */
export async function* folderTar(folder: string, signal: AbortSignal): AsyncGenerator<Buffer> {
  const same = ['--sort=name', '--owner=0', '--group=0', '--numeric-owner', '--mtime=@0', '--format=posix'];
  const pax = '--pax-option=delete=atime,delete=ctime';
  const tar = startPiped({ command: 'tar', args: ['--create', ...same, pax, `--directory=${folder}`, '.'] });
  tar.stdin.end();
  try {
    for await (const bytes of tar.stdout) yield bytes;
    await endOf(tar, folder, signal);
  } finally {
    await tar.kill();
  }
}

async function endOf(tar: PipedProcess, folder: string, signal: AbortSignal): Promise<void> {
  const { succeeded, how } = await waitForEnd(tar, signal);
  if (!succeeded) throw new KilnError('INFRA', `tar of ${folder} ${how}`);
}
