import pino, { type DestinationStream } from 'pino';
import { hideTokens } from './hide-tokens.ts';
import { LineOutput } from './line-output.ts';
import type { Logger } from './logger.ts';

/**
 * A logger that writes one JSON object a line. Errors are written with the whole chain of their causes, in message and stack; the secret
 * of a token is written nowhere.
 */
export function createPinoLogger(level: 'info' | 'warn', destination: DestinationStream): Logger {
  const serializers = { error: pino.stdSerializers.err, cause: pino.stdSerializers.err };
  const logger = pino({ level, serializers, hooks: { streamWrite: hideTokens } }, destination);
  return {
    info: (fields, message) => logger.info(fields, message),
    warn: (fields, message) => logger.warn(fields, message),
    error: (fields, message) => logger.error(fields, message),
  };
}

/** The log on standard error; each line is out when the call returns. Lines that could not be written are told of by the next that can. */
export function createProcessLogger(level: 'info' | 'warn'): Logger {
  const output = new LineOutput(standardError, ({ lines, cause }) =>
    logger.warn({ lines, cause }, 'lines of this log could not be written'),
  );
  const logger = createPinoLogger(level, output);
  return logger;
}

const standardError = 2;
