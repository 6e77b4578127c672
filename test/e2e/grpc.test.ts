import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { after, test } from 'node:test';
import { credentials } from '@grpc/grpc-js';
import { BuildState, Network, Output, Retry } from '../../src/grpc/generated/kiln/v1/build.ts';
import {
  type BuildResponse,
  BuildServiceClient,
  BuildStart,
  type DownloadArtifactResponse,
  type WatchBuildResponse,
} from '../../src/grpc/generated/kiln/v1/build_service.ts';
import { localAdmin } from '../../src/model/caller.ts';
import { createContext, startForFile, waitFor } from './harness.ts';

const { service } = await startForFile();
const client = new BuildServiceClient(service.grpcAddress, credentials.createInsecure());
after(() => client.close());

const spec = {
  ...{
    dockerfile: undefined,
    target: undefined,
    platform: undefined,
    entry: undefined,
    timeoutSeconds: undefined,
  },
  ...{
    buildArgs: [],
    labels: [],
    buildContexts: [],
    noCache: false,
    builtinFrontend: false,
    tags: ['example.com/kiln/grpc:1'],
    output: Output.OUTPUT_OCI,
    network: Network.NETWORK_UNSPECIFIED,
    retry: Retry.RETRY_UNSPECIFIED,
  },
};

/** Sends a context as a client would, in chunks; yields the answers as they come. */
async function* build(files: Readonly<Record<string, string>>): AsyncGenerator<BuildResponse> {
  await using context = await createContext(files);
  const archive = await readFile(context.archive);
  const call = client.build();
  call.write({
    part: { $case: 'start', value: BuildStart.create({ spec }) },
  });
  for (let at = 0; at < archive.length; at += 100)
    call.write({ part: { $case: 'context', value: archive.subarray(at, at + 100) } });
  call.end();
  try {
    for await (const answer of call) yield answer as BuildResponse;
  } finally {
    call.cancel();
  }
}

test('Build streams a real build, WatchBuild repeats it, GetBuild tells it, DownloadArtifact gives its image', async () => {
  const answers = await Array.fromAsync(build({ Dockerfile: 'FROM scratch\nCOPY a /\n', a: 'hello' }));
  const parts = answers.map(({ part }) => part);
  const accepted = parts[0]?.$case === 'accepted' ? parts[0].value : undefined;
  const last = parts.at(-1);
  assert.ok(accepted && last?.$case === 'event' && last.value.kind?.$case === 'verdict');
  assert.equal(last.value.kind.value.state, BuildState.BUILD_STATE_SUCCEEDED);
  const logOf = (all: readonly (WatchBuildResponse | BuildResponse)[]): string =>
    Buffer.concat(
      all.map(({ part }) => (part?.$case === 'log' ? Buffer.from(part.value.data) : Buffer.alloc(0))),
    ).toString();
  const log = logOf(answers);
  assert.match(log, /^#1 \[internal\] load build definition from Dockerfile\n/);
  assert.match(log, /\[1\/1\] COPY a \/\n/);
  assert.ok(parts.some((part) => part?.$case === 'event' && part.value.kind?.$case === 'status'));

  const { id } = accepted;
  const again = await Array.fromAsync<WatchBuildResponse>(
    client.watchBuild({ id, logOffset: 10, eventOffset: 0, follow: true }),
  );
  assert.equal(logOf(again), log.slice(10));

  const { build: record } = await new Promise<{
    build?: { artifact?: { digest: string } | undefined } | undefined;
  }>((resolve, reject) =>
    client.getBuild({ id }, (error, answer) => (error ? reject(error) : resolve(answer))),
  );
  const hash = createHash('sha256');
  for await (const { part } of client.downloadArtifact({ id }) as AsyncIterable<DownloadArtifactResponse>) {
    if (part?.$case === 'chunk') hash.update(part.value);
  }
  assert.equal(`sha256:${hash.digest('hex')}`, record?.artifact?.digest);
});

test('a call that is cancelled cancels its build, and the VM is gone', async () => {
  let id = '';
  for await (const { part } of build({ Dockerfile: 'FROM busybox\nRUN echo started && sleep 300\n' })) {
    if (part?.$case === 'accepted') id = part.value.id;
    if (part?.$case === 'log' && Buffer.from(part.value.data).includes(' started')) break;
  }
  const ended = async (): Promise<boolean> =>
    (await service.builds.get(localAdmin, id)).state === 'cancelled';
  await waitFor(ended, 'the build is cancelled');
});
