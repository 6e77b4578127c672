import { parseArgs } from 'node:util';
import manifest from '../package.json' with { type: 'json' };
import { parseConfig } from './config/config.ts';
import { renderReady, renderUsage } from './config/usage.ts';
import { LineOutput } from './lib/line-output.ts';
import { createProcessLogger } from './lib/pino-logger.ts';
import { isOurs, KilnError } from './model/error.ts';
import { startService } from './service.ts';

const standardOutput = new LineOutput(1);

/**
 * The process: arguments, environment and signals in, exit code out. The first SIGINT or SIGTERM lets running builds finish, the second,
 * or the end of the grace period, ends them.
 */
async function main(): Promise<void> {
  const asked = readArguments(process.argv.slice(2));
  if (asked.help) process.stdout.write(renderUsage());
  else if (asked.version) process.stdout.write(`kiln ${manifest.version}\n`);
  else await serve();
}

function readArguments(args: readonly string[]): { help?: boolean; version?: boolean } {
  try {
    const options = { help: { type: 'boolean', short: 'h' }, version: { type: 'boolean' } } as const;
    return parseArgs({ args: [...args], options }).values;
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new KilnError(
      'CONFIG_INVALID',
      `${why}\nkiln is set by environment variables; npm start -- --help lists them.`,
    );
  }
}

async function serve(): Promise<void> {
  const starting = new AbortController();
  const hurry = new AbortController();
  const stop = Promise.withResolvers<void>();
  const onSignal = (): void => {
    if (starting.signal.aborted) hurry.abort();
    starting.abort(new KilnError('CANCELLED', 'stopped'));
    stop.resolve();
  };
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal);

  const config = parseConfig(process.env, process.getuid?.() === 0);
  // Others may read what is not made private: QEMU runs as other users and reads images and templates.
  process.umask(0o022);
  const logger = createProcessLogger(process.stdout.isTTY ? 'warn' : 'info');
  // In the log like everything else, and not beside it as Node prints them.
  process.removeAllListeners('warning').on('warning', (error) => logger.warn({ error }, error.message));
  const service = await startService({
    config,
    path: process.env['PATH'] ?? '',
    logger,
    progress: say,
    signal: starting.signal,
  });
  for (const line of renderReady(service)) say(line);
  await stop.promise;
  say('stopping; running builds may finish, a second signal ends them');
  const grace = setTimeout(() => hurry.abort(), config.KILN_SHUTDOWN_GRACE_SECONDS * 1000);
  await service.close(hurry.signal);
  clearTimeout(grace);
  say('stopped');
}

function say(line: string): void {
  standardOutput.write(line === '' ? '\n' : line.startsWith(' ') ? `${line}\n` : `kiln: ${line}\n`);
}

try {
  await main();
} catch (error) {
  const { code, message, cause } = KilnError.from(error);
  if (code === 'CANCELLED') say(message);
  else {
    process.stderr.write(`kiln: ${message}\n`);
    if (isOurs(code) && cause !== undefined) console.error(cause);
    process.exitCode = 1;
  }
}
