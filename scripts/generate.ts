import { spawnSync } from 'node:child_process';
import { delimiter, dirname, join } from 'node:path';

/** `npm run generate`: writes src/grpc/generated from proto/. Needs no network. */
const root = dirname(import.meta.dirname);
// The plugin is a script of `#!/usr/bin/env node`: it must find this Node, not an older one of the machine.
const env = { ...process.env, PATH: [dirname(process.execPath), process.env['PATH']].join(delimiter) };

const buf = spawnSync(join(root, 'node_modules/.bin/buf'), ['generate'], {
  cwd: root,
  env,
  stdio: 'inherit',
});
if (buf.error !== undefined) throw buf.error;
process.exitCode = buf.status ?? 1;
