import type { Readable } from 'node:stream';
import type { Logger } from '../lib/logger.ts';
import type { BuildRecord } from '../model/build.ts';
import type { Builds } from '../model/builds.ts';
import type { Caller } from '../model/caller.ts';
import { KilnError } from '../model/error.ts';
import type { BuildResponse } from './generated/kiln/v1/build_service.ts';
import type { Outgoing } from './handlers.ts';
import { toBuildRecord, toPart } from './messages.ts';
import { toSpec } from './spec.ts';
import { openUpload, type Received, type UploadLimits } from './upload.ts';

export type BuildCall = Outgoing<BuildResponse> & {
  readonly caller: Caller;
  readonly requests: Readable;
};

/** The Build call: upload in, then the record, the log and the events out. Its end before the build's cancels the build. */
export async function runBuildCall(
  call: BuildCall,
  { builds, upload, logger }: { builds: Builds; upload: UploadLimits; logger: Logger },
): Promise<void> {
  const { caller } = call;
  const { record, detach } = await acceptBuild(call, { builds, upload });
  logger.info({ build: record.id, tenant: record.tenant }, 'build accepted');
  await using _client = detach ? null : builds.attend(caller, record.id);
  await sendBuild(record, builds, call);
}

async function acceptBuild(
  { caller, requests, signal }: BuildCall,
  { builds, upload }: { builds: Builds; upload: UploadLimits },
): Promise<{ record: BuildRecord; detach: boolean }> {
  const received: Received = { bytes: 0, isWhole: false };
  using place = builds.receive(caller, () => (received.isWhole ? null : received.bytes));
  const linked = AbortSignal.any([signal, place.signal]);
  const { start, context } = await openUpload(requests, { ...upload, received }, linked);
  const spec = toSpec(start.spec);
  const dockerfile = start.dockerfile === undefined ? null : Buffer.from(start.dockerfile);
  if (context === null && dockerfile === null) throw nothingToBuild();
  if (dockerfile !== null && start.spec?.dockerfile !== undefined) throw twoDockerfiles();
  builds.check(caller, { spec, dockerfile });
  const staged = context && (await builds.stageContext(caller, { bytes: context, declared: null }, linked));
  return { record: await builds.start(caller, { spec, context: staged, dockerfile }), detach: start.detach };
}

async function sendBuild(
  record: BuildRecord,
  builds: Builds,
  { caller, send, signal }: BuildCall,
): Promise<void> {
  await send({ part: { $case: 'accepted', value: toBuildRecord(record) } });
  const items = await builds.watch(caller, record.id, { logOffset: 0, eventOffset: 0, follow: true, signal });
  for await (const item of items) await send({ part: toPart(item) });
}

function twoDockerfiles(): KilnError {
  const message = "A Dockerfile is given in 'dockerfile' and as a path in 'spec'; give one of them.";
  return new KilnError('PARAM_INVALID', message, { details: { field: 'dockerfile' } });
}

function nothingToBuild(): KilnError {
  return new KilnError('FILE_MISSING', "There is nothing to build: send a context, or a 'dockerfile'.");
}
