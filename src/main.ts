import pino from 'pino';
import { parseConfig } from './config.ts';
import { KilnError } from './model/error.ts';
import { startService } from './service.ts';

/**
 * The process: environment in, signals in, exit code out. The first SIGINT or SIGTERM lets running builds finish, the second,
 * or the end of the grace period, ends them.
 */
async function main(): Promise<void> {
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
  const serializers = { error: pino.stdSerializers.err, cause: pino.stdSerializers.err };
  const log = pino({ level: process.stdout.isTTY ? 'warn' : 'info', serializers }, pino.destination(2));
  const service = await startService({
    config,
    path: process.env['PATH'] ?? '',
    log: {
      info: (fields, message) => log.info(fields, message),
      warn: (fields, message) => log.warn(fields, message),
      error: (fields, message) => log.error(fields, message),
    },
    progress: say,
    signal: starting.signal,
  });
  say(`ready  HTTP on ${service.httpUrl}, gRPC on ${service.grpcAddress}. Try:`);
  say('');
  say(`  tar -czf - -C examples/hello . | curl -N -F context=@- ${service.httpUrl}/build`);
  say('');
  await stop.promise;
  say('stopping; running builds may finish, a second signal ends them');
  const grace = setTimeout(() => hurry.abort(), config.KILN_SHUTDOWN_GRACE_SECONDS * 1000);
  await service.close(hurry.signal);
  clearTimeout(grace);
  say('stopped');
}

function say(line: string): void {
  process.stdout.write(line === '' ? '\n' : line.startsWith(' ') ? `${line}\n` : `kiln: ${line}\n`);
}

try {
  await main();
} catch (error) {
  const { code, message, cause } = KilnError.from(error);
  if (code === 'CANCELLED') say(message);
  else {
    process.stderr.write(`kiln: ${message}\n`);
    if (code === 'INTERNAL') console.error(cause);
    process.exitCode = 1;
  }
}
