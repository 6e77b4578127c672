import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import Docker from 'dockerode';
import { withDeadline } from '../../lib/abort.ts';
import { printable } from '../../lib/text.ts';
import { KilnError } from '../../model/error.ts';

/** Where a Docker engine answers, in the words of $DOCKER_HOST: unix:///path, tcp://host:port. */
export type DockerEndpoint = {
  readonly host: string;
  /** Holds ca.pem, cert.pem and key.pem: the engine is spoken to over TLS. */
  readonly certificates: string | null;
};

/** Everything we ask is answered within a second; an engine that takes this long hangs. */
const callDeadlineMs = 10_000;
/** How long one that is not there is waited for: it may be starting anew. */
const absenceMs = 30_000;
const retryMs = 250;

/** Speaks to one Docker engine, each call with a deadline. */
export class DockerEngine {
  readonly host: string;
  readonly docker: Docker;

  constructor(host: string, docker: Docker) {
    this.host = host;
    this.docker = docker;
  }

  /** @param call Passes its signal on to dockerode, whose calls would wait for ever. @throws KilnError INFRA */
  async ask<T>(
    what: string,
    signal: AbortSignal,
    call: (docker: Docker, abortSignal: AbortSignal) => Promise<T>,
    ms = callDeadlineMs,
  ): Promise<T> {
    const reason = (): Error =>
      new KilnError('INFRA', `The Docker engine did not ${what} within ${ms / 1000} s.`);
    try {
      return await withDeadline({ ms, signal, reason }, (linked) => call(this.docker, linked));
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof KilnError) throw error;
      throw new KilnError('INFRA', `The Docker engine did not ${what}: ${describe(error)}`, { cause: error });
    }
  }

  /** As `ask`; an engine that is not there is waited for, half a minute. */
  async askPatiently<T>(
    what: string,
    signal: AbortSignal,
    call: (docker: Docker, abortSignal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const until = performance.now() + absenceMs;
    for (;;) {
      try {
        return await this.ask(what, signal, call);
      } catch (error) {
        if (!isAbsent(error) || performance.now() > until) throw error;
        await sleep(retryMs, undefined, { signal });
      }
    }
  }
}

/** @throws KilnError CONFIG_INVALID */
export async function connectDocker({ host, certificates }: DockerEndpoint): Promise<DockerEngine> {
  const socketPath = /^unix:\/\/(\/.+)$/.exec(host)?.[1];
  if (socketPath !== undefined) return new DockerEngine(host, new Docker({ socketPath }));
  const [, name = '', port] = /^tcp:\/\/(\[[0-9a-fA-F:]+\]|[A-Za-z0-9_.-]+):(\d{1,5})$/.exec(host) ?? [];
  if (port === undefined) {
    throw new KilnError(
      'CONFIG_INVALID',
      `DOCKER_HOST: '${host}' is neither unix:///path nor tcp://host:port.`,
    );
  }
  const address = { host: name.replace(/^\[|\]$/g, ''), port: Number(port) };
  if (certificates === null) return new DockerEngine(host, new Docker({ ...address, protocol: 'http' }));
  const read = async (file: string): Promise<string> => {
    try {
      return await readFile(join(certificates, file), 'utf8');
    } catch (error) {
      throw new KilnError('CONFIG_INVALID', `DOCKER_CERT_PATH: ${file} cannot be read in ${certificates}.`, {
        cause: error,
      });
    }
  };
  const [ca, cert, key] = await Promise.all([read('ca.pem'), read('cert.pem'), read('key.pem')]);
  return new DockerEngine(host, new Docker({ ...address, protocol: 'https', ca, cert, key }));
}

/** Whether the engine knows no such thing. */
export function isNotFound(error: unknown): boolean {
  return statusOf(error) === 404;
}

/** Whether what is asked for is being done already. */
export function isConflict(error: unknown): boolean {
  return statusOf(error) === 409;
}

function statusOf(error: unknown): unknown {
  const cause = error instanceof KilnError ? error.cause : error;
  return cause instanceof Error && 'statusCode' in cause ? cause.statusCode : undefined;
}

/** Nobody listens, or who did went away before the answer. */
function isAbsent(error: unknown): boolean {
  const cause = error instanceof KilnError ? error.cause : error;
  if (!(cause instanceof Error)) return false;
  const code = 'code' in cause ? cause.code : undefined;
  return (
    ['ECONNREFUSED', 'ENOENT', 'ECONNRESET', 'EPIPE'].includes(String(code)) && statusOf(error) === undefined
  );
}

function describe(error: unknown): string {
  return printable(error instanceof Error ? error.message.trim() : String(error));
}
