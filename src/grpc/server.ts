import { type ChannelOptions, Server, ServerCredentials } from '@grpc/grpc-js';
import type { Logger } from '../lib/logger.ts';
import type { TlsIdentity } from '../lib/tls-identity.ts';
import type { Builds } from '../model/builds.ts';
import type { Authenticate } from '../model/caller.ts';
import { KilnError } from '../model/error.ts';
import type { Operations } from '../model/operations.ts';
import { createBuildService } from './build-service.ts';
import { createCallerGuard } from './caller-guard.ts';
import { createConnections } from './connections.ts';
import { BuildServiceService } from './generated/kiln/v1/build_service.ts';
import { ImageServiceService } from './generated/kiln/v1/image_service.ts';
import { serveHealth } from './health.ts';
import { createHostGuard } from './host-guard.ts';
import { createImageService } from './image-service.ts';
import { OpenCalls } from './open-calls.ts';
import { serveReflection } from './reflection.ts';

export type GrpcSettings = {
  /** Null for plaintext HTTP/2. */
  readonly tls: TlsIdentity | null;
  /** Further host names the service may be called by, without a port. */
  readonly hosts: readonly string[];
  readonly uploadMaxBytes: number;
  /** How long an upload or a reader may make no progress, in ms. */
  readonly stallMs: number;
  /** Deadline of a call that names none, in ms. */
  readonly maxCallMs: number;
  readonly maxConnections: number;
  /** Builds that are sent and readers of builds, on all connections together. */
  readonly maxCalls: number;
};

/** Defaults; `hosts`, `tls` and `uploadMaxBytes` are the operator's to decide. */
export const defaultGrpcSettings = {
  stallMs: 30_000,
  maxCallMs: 26 * 3600 * 1000,
  maxConnections: 1000,
  // As many as HTTP has connections.
  maxCalls: 1000,
} as const;

export type GrpcServer = {
  /** @throws KilnError CONFIG_INVALID when the address cannot be listened on. */
  listen(address: { host: string; port: number }): Promise<{ port: number }>;
  /** Stops accepting, gives running calls `graceMs`, then ends them; no connection is left when it resolves. */
  close(graceMs?: number): Promise<void>;
};

/** What a reader needs to be sent the end of a build that has just ended, in ms; HTTP gives the same. */
const defaultGraceMs = 2000;

/** How long a call that was ended has to tell its client, in ms. */
const statusMs = 1000;

const channelOptions: ChannelOptions = {
  // The start of a build: a Dockerfile of 1 MiB, build arguments and labels of 1 MiB in all, and so much of secrets.
  'grpc.max_receive_message_length': 3.5 * 1024 * 1024,
  'grpc.max_concurrent_streams': 100,
  'grpc.keepalive_time_ms': 20_000,
  'grpc.keepalive_timeout_ms': 10_000,
  'grpc.max_connection_idle_ms': 300_000,
  // Megabytes of headers and frames that one connection may make us hold.
  'grpc-node.max_session_memory': 10,
  'grpc.enable_channelz': 0,
};

/** The gRPC API: build and image service, health and reflection, over HTTP/2, with TLS where there is an identity for it. */
export function createGrpcServer(options: {
  builds: Builds;
  operations: Operations;
  authenticate: Authenticate;
  settings: GrpcSettings;
  logger: Logger;
}): GrpcServer {
  const { builds, operations, authenticate, settings, logger } = options;
  const shutdown = new AbortController();
  const guard = createCallerGuard(authenticate, logger);
  const interceptors = [createHostGuard(settings.hosts), guard.interceptor];
  const server = new Server({ ...channelOptions, interceptors });
  // TLS has ended by the time it sees a connection.
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  const connections = createConnections((socket) => injector.injectConnection(socket), settings);
  const context = {
    callerOf: guard.callerOf,
    logger,
    shutdown: shutdown.signal,
    maxCallMs: settings.maxCallMs,
    calls: new OpenCalls(settings.maxCalls),
    readerStallMs: settings.stallMs,
    dropConnection: connections.drop,
  };
  const upload = { maxBytes: settings.uploadMaxBytes, stallMs: settings.stallMs };
  server.addService(BuildServiceService, createBuildService(builds, upload, context));
  server.addService(ImageServiceService, createImageService({ builds, operations }, context));
  const health = serveHealth(server, builds, ['kiln.v1.BuildService', 'kiln.v1.ImageService']);

  return {
    async listen(address) {
      await serveReflection(server);
      return connections.listen(address);
    },
    async close(graceMs = defaultGraceMs) {
      health[Symbol.dispose]();
      const closed = connections.close();
      // Tells every client to open no further call. Its callback comes too early where Node itself closes the
      // sessions of a server, so the end of the connections is what is waited for.
      server.tryShutdown(() => undefined);
      const end = setTimeout(() => shutdown.abort(draining()), graceMs);
      // By then every call of ours has sent its status; what is left are clients that do not read it.
      const force = setTimeout(connections.dropAll, graceMs + statusMs);
      await closed;
      clearTimeout(end);
      clearTimeout(force);
    },
  };
}

function draining(): KilnError {
  return new KilnError('DRAINING', 'The service is stopping; try again in a moment.', {
    details: { retryAfterSeconds: 10 },
  });
}
