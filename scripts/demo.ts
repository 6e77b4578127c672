import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';

/** `npm run demo`: starts kiln, builds examples/hello with the curl line it prints, shows the log, stops. */
const root = dirname(import.meta.dirname);
const kiln = spawn(process.execPath, [join(root, 'src/main.ts')], {
  cwd: root,
  stdio: ['ignore', 'pipe', 'inherit'],
  env: { ...process.env, KILN_LISTEN: '127.0.0.1:0', KILN_GRPC_LISTEN: '127.0.0.1:0' },
});
const exited = once(kiln, 'exit');
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => kiln.kill(signal));

let built = 1;
for await (const line of createInterface({ input: kiln.stdout })) {
  console.log(line);
  if (!line.startsWith('  tar ')) continue;
  const shell = spawn('sh', ['-c', line.trim()], { cwd: root, stdio: 'inherit' });
  const [status] = await once(shell, 'exit');
  built = Number(status ?? 1);
  kiln.kill('SIGTERM');
}
const [status] = await exited;
process.exitCode = built === 0 && status === 0 ? 0 : 1;
