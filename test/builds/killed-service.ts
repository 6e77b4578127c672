import { createInterface } from 'node:readline';
import { localAdmin } from '../../src/model/caller.ts';
import { parseSpec } from '../../src/model/spec.ts';
import { inChunks } from '../context/staging.ts';
import { file, tar } from '../context/tar.ts';
import { briefly } from './briefly.ts';
import { startDurable } from './durable-service.ts';

/**
 * A process that is there to be killed: it goes on with what is left in the folder, and begins one build for each line that it reads. It
 * writes `ready`, then the id of each build once that is acknowledged.
 */
const [path = ''] = process.argv.slice(2);

const { signal } = new AbortController();
const { builds } = await startDurable(path, { script: briefly });
process.stdout.write('ready\n');
for await (const _line of createInterface({ input: process.stdin })) {
  const context = await builds.stageContexts(localAdmin, signal);
  await context.add(null, { bytes: inChunks(tar(file('Dockerfile', 'FROM scratch\n'))), declared: null });
  const { id } = await builds.start(localAdmin, { spec: parseSpec({}), context, dockerfile: null });
  process.stdout.write(`${id}\n`);
}
