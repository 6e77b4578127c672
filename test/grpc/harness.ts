import { once } from 'node:events';
import {
  type ClientDuplexStream,
  type ClientReadableStream,
  credentials,
  type ServiceError,
} from '@grpc/grpc-js';
import { ErrorInfo } from '../../src/grpc/generated/google/rpc/error_details.ts';
import { Status } from '../../src/grpc/generated/google/rpc/status.ts';
import { BuildSpec } from '../../src/grpc/generated/kiln/v1/build.ts';
import {
  type BuildRequest,
  type BuildResponse,
  BuildServiceClient,
  BuildStart,
} from '../../src/grpc/generated/kiln/v1/build_service.ts';
import {
  ImageServiceClient,
  type RebuildImageRequest,
} from '../../src/grpc/generated/kiln/v1/image_service.ts';
import {
  createGrpcServer,
  defaultGrpcSettings,
  type GrpcServer,
  type GrpcSettings,
} from '../../src/grpc/server.ts';
import type { Builds } from '../../src/model/builds.ts';
import { type Authenticate, localAdmin } from '../../src/model/caller.ts';
import type { WatchItem } from '../../src/model/event.ts';
import { openOperations } from '../operations/open-operations.ts';
import type { SimulatedHouse } from '../operations/simulated-house.ts';
import { endless, event, failed, log } from '../simulated-builds.ts';

export type Harness = AsyncDisposable & {
  readonly port: number;
  readonly server: GrpcServer;
  readonly client: BuildServiceClient;
  readonly images: ImageServiceClient;
  /** What the server logged as errors. */
  readonly errors: object[];
};

/** A short build that fails. */
export const items: readonly WatchItem[] = [
  event({ type: 'queued', place: 1 }, 40),
  log('#1 [internal] load\n'),
  event({ type: 'verdict', verdict: failed }, 90),
];

/** A build that says something and goes on. */
export const goesOn = (signal: AbortSignal): AsyncIterable<WatchItem> =>
  endless([log('#1 waiting\n')], signal);

/** The real server on loopback with one client. */
export async function serve(
  builds: Builds,
  settings: Partial<GrpcSettings> = {},
  authenticate: Authenticate = async () => localAdmin,
  house?: SimulatedHouse,
): Promise<Harness> {
  const errors: object[] = [];
  const logger = { info() {}, warn() {}, error: (fields: object) => void errors.push(fields) };
  const opened = await openOperations(house);
  const server = createGrpcServer({
    ...{ builds, operations: opened.operations },
    authenticate,
    logger,
    settings: { ...defaultGrpcSettings, hosts: [], tls: null, uploadMaxBytes: 1_000_000, ...settings },
  });
  const { port } = await server.listen({ host: '127.0.0.1', port: 0 });
  const address = [`127.0.0.1:${port}`, credentials.createInsecure()] as const;
  const client = new BuildServiceClient(...address);
  const images = new ImageServiceClient(...address);
  return {
    port,
    server,
    client,
    images,
    errors,
    async [Symbol.asyncDispose]() {
      client.close();
      images.close();
      await server.close(0);
      await opened[Symbol.asyncDispose]();
    },
  };
}

export function start(
  options: {
    detach?: boolean;
    dockerfile?: string;
    entry?: string;
    buildArgs?: number;
    valueBytes?: number;
    entries?: readonly string[];
    secrets?: Partial<Pick<BuildStart, 'registryConfig' | 'secrets' | 'sshKeys'>>;
  } = {},
): BuildRequest {
  const {
    detach = false,
    dockerfile,
    entry,
    buildArgs = 0,
    valueBytes = 0,
    entries = [],
    secrets = {},
  } = options;
  const values = Array.from({ length: buildArgs }, (_, index) => ({
    name: `A${index}`,
    value: 'x'.repeat(valueBytes),
  }));
  return {
    part: {
      $case: 'start',
      value: BuildStart.create({
        spec: BuildSpec.create({ entry, buildArgs: values }),
        ...{ detach, entries: [...entries], ...secrets },
        ...(dockerfile === undefined ? {} : { dockerfile: Buffer.from(dockerfile) }),
      }),
    },
  };
}

export function context(data: string | Buffer): BuildRequest {
  return { part: { $case: 'context', value: Buffer.from(data) } };
}

/** Sends all messages, half-closes, and gives all answers. @throws ServiceError */
export async function build(
  call: ClientDuplexStream<BuildRequest, BuildResponse>,
  requests: readonly BuildRequest[],
): Promise<BuildResponse[]> {
  for (const request of requests) call.write(request);
  call.end();
  return collect(call);
}

export async function collect<T>(
  call: ClientReadableStream<T> | ClientDuplexStream<unknown, T>,
): Promise<T[]> {
  const answers: T[] = [];
  call.on('data', (answer: T) => answers.push(answer));
  await once(call, 'end');
  return answers;
}

/** The kiln code of an error, from its google.rpc.ErrorInfo. */
export function reasonOf(error: unknown): string {
  const [packed] = (error as ServiceError).metadata.get('grpc-status-details-bin');
  if (!Buffer.isBuffer(packed)) return '';
  const info = Status.decode(packed).details.find(({ typeUrl }) => typeUrl.endsWith('/google.rpc.ErrorInfo'));
  return info ? ErrorInfo.decode(info.value).reason : '';
}

/** What a caller sends who asks for nothing else. */
export function rebuildRequest(
  given: Pick<RebuildImageRequest, 'entry'> & Partial<RebuildImageRequest>,
): RebuildImageRequest {
  return { targets: [], args: [], noCache: false, dryRun: false, ...given };
}
