import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { removeQuietly } from '../lib/files.ts';
import { runTool } from '../lib/process/run-tool.ts';
import { printable } from '../lib/text.ts';
import type { ImageRequest, ImageSource } from './image-request.ts';

/** How long a registry may take to answer before Debian packages are taken. */
const registryDeadlineMs = 20_000;

/** Asks the builder itself, with its own mirrors and proxies, whether the base can be had. */
export async function chooseSource(
  { sources, signal, progress }: ImageRequest,
  base: string,
  builder: { buildctl: string; address: string },
): Promise<ImageSource> {
  if (sources !== 'auto') return sources;
  const probe = await mkdtemp(join(tmpdir(), 'kiln-probe-'));
  try {
    await writeFile(join(probe, 'Dockerfile'), `FROM ${base}\n`);
    const folders = [`--local=context=${probe}`, `--local=dockerfile=${probe}`];
    // Without an output nothing is pulled but the image's description.
    await runTool(
      builder.buildctl,
      ['--addr', builder.address, 'build', '--frontend=dockerfile.v0', ...folders],
      AbortSignal.any([signal, AbortSignal.timeout(registryDeadlineMs)]),
    );
    progress(`source  ${base}`);
    return 'registry';
  } catch (error) {
    signal.throwIfAborted();
    const why = error instanceof Error ? (error.message.trim().split('\n').at(-1) ?? '') : '';
    progress(`source  Debian packages, as no container registry answers (${printable(why)})`);
    return 'packages';
  } finally {
    await removeQuietly(probe);
  }
}
