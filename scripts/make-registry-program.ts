import { parseConfig } from '../src/config/config.ts';
import { prepareRegistryProgram } from '../src/host-setup.ts';

/** Makes the program that speaks to container registries ahead of the tests that need it, as compiling it takes minutes. */
const stopping = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stopping.abort());
await prepareRegistryProgram(parseConfig({}, true), {
  path: process.env['PATH'] ?? '',
  progress: (line) => console.log(line),
  signal: stopping.signal,
});
