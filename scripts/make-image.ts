import { parseConfig } from '../src/config/config.ts';
import { prepareDqdImage, prepareHost } from '../src/host-setup.ts';
import { isOurs, KilnError } from '../src/model/error.ts';

/**
 * `sudo sh scripts/run.sh scripts/make-image.ts`: what kiln needs root for, once. `npm start` does the same on its own where it
 * is root, and prints this command where it is not.
 */
const stopping = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.once(signal, () => stopping.abort(new KilnError('CANCELLED', 'stopped')));

// Everyone shall see what root made, whatever root's own habit.
process.umask(0o022);

try {
  const config = parseConfig(process.env, process.getuid?.() === 0);
  const { signal } = stopping;
  const options = {
    path: process.env['PATH'] ?? '',
    progress: (line: string) => console.log(`kiln: ${line}`),
    sealsDirectory: null,
    signal,
  };
  const { made } = await prepareHost(config, options);
  if (config.KILN_DRIVER === 'docker') {
    for (const image of made) await prepareDqdImage(config, options, image);
  }
  console.log('kiln: the VM image is there; npm start serves builds with it');
} catch (error) {
  const { code, message, cause } = KilnError.from(error);
  console.error(`kiln: ${message}`);
  if (isOurs(code) && cause !== undefined) console.error(cause);
  process.exitCode = 1;
}
