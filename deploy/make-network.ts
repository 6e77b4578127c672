import { parseConfig } from '../src/config/config.ts';
import { prepareNetworkPrograms } from '../src/host-setup.ts';

/** Of what kiln needs root for, the programs that it puts into its guests: for the service image, which has them ready. */
const options = {
  path: process.env['PATH'] ?? '',
  progress: (line: string) => console.log(`kiln: ${line}`),
  signal: new AbortController().signal,
};
await prepareNetworkPrograms(parseConfig({}, true), options);
