import { execFileSync } from 'node:child_process';
import { delimiter, dirname, join } from 'node:path';

/** `npm run generate`: writes src/grpc/generated from proto/. Needs no network. */
const root = dirname(import.meta.dirname);
// The plugin is a script of `#!/usr/bin/env node`: it must find this Node, not an older one of the machine.
const env = { ...process.env, PATH: [dirname(process.execPath), process.env['PATH']].join(delimiter) };

/** What reflection tells: kiln's protocol, and those that libraries serve, in the words of their own files. */
const described = {
  kiln: ['--path', 'proto/kiln'],
  health: ['node_modules/grpc-health-check/proto'],
  reflection: [
    'node_modules/@grpc/reflection/build/proto',
    '--path',
    'node_modules/@grpc/reflection/build/proto/grpc',
  ],
};

buf('generate');
for (const [name, input] of Object.entries(described)) {
  const output = `src/grpc/generated/${name}.binpb`;
  buf('build', ...input, '--as-file-descriptor-set', '--output', output);
}

function buf(...args: readonly string[]): void {
  execFileSync(join(root, 'node_modules/.bin/buf'), args, { cwd: root, env, stdio: 'inherit' });
}
