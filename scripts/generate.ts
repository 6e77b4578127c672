import { execFileSync } from 'node:child_process';
import { delimiter, dirname, join } from 'node:path';

/** `npm run generate`: writes src/grpc/generated from proto/. Needs no network. */
const root = dirname(import.meta.dirname);
// The plugin is a script of `#!/usr/bin/env node`: it must find this Node, not an older one of the machine.
const env = { ...process.env, PATH: [dirname(process.execPath), process.env['PATH']].join(delimiter) };

buf('generate');
buf(
  'build',
  '--path',
  'proto/kiln',
  '--as-file-descriptor-set',
  '--output',
  'src/grpc/generated/descriptors.binpb',
);

function buf(...args: readonly string[]): void {
  execFileSync(join(root, 'node_modules/.bin/buf'), args, { cwd: root, env, stdio: 'inherit' });
}
