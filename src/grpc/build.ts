import type { Readable } from 'node:stream';
import type { Logger } from '../lib/logger.ts';
import { mergeIterables } from '../lib/merge.ts';
import type { BuildRecord } from '../model/build.ts';
import type { Builds } from '../model/builds.ts';
import type { Caller } from '../model/caller.ts';
import type { ContextStaging } from '../model/context.ts';
import { KilnError } from '../model/error.ts';
import type { WatchItem } from '../model/event.ts';
import type { Matrix } from '../model/matrix.ts';
import type { BuildResponse } from './generated/kiln/v1/build_service.ts';
import type { Outgoing } from './handlers.ts';
import { toMatrix } from './matrix-messages.ts';
import { toBuildRecord, toPart } from './messages.ts';
import { toSecrets } from './secrets.ts';
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
  const { accepted, detach } = await accept(call, { builds, upload });
  const ids = 'matrix' in accepted ? accepted.matrix.builds.map(({ id }) => id) : [accepted.record.id];
  const { tenant } = caller;
  const { requestId } = call.origin;
  if ('matrix' in accepted)
    logger.info({ matrix: accepted.matrix.id, tenant, builds: ids, requestId }, 'matrix accepted');
  else logger.info({ build: accepted.record.id, tenant, requestId }, 'build accepted');
  await using clients = new AsyncDisposableStack();
  if (!detach) for (const id of ids) clients.use(builds.attend(caller, id));
  if ('matrix' in accepted) await sendMatrix(accepted.matrix, builds, call);
  else await sendBuild(accepted.record, builds, call);
}

/** @throws KilnError PARAM_INVALID */
function checkIdempotencyKey(key: string): void {
  if (/^[ -~]{1,255}$/.test(key)) return;
  const message = 'The idempotency_key must be 1 to 255 printable ASCII characters, such as a UUID.';
  throw new KilnError('PARAM_INVALID', message, { details: { field: 'idempotencyKey' } });
}

/** What the call asked for: one build, or a matrix. */
type Accepted = { readonly record: BuildRecord } | { readonly matrix: Matrix };

async function accept(
  { caller, requests, signal, origin }: BuildCall,
  { builds, upload }: { builds: Builds; upload: UploadLimits },
): Promise<{ accepted: Accepted; detach: boolean }> {
  const received: Received = { bytes: 0, isWhole: false };
  using place = builds.receive(caller, () => (received.isWhole ? null : received.bytes));
  const linked = AbortSignal.any([signal, place.signal]);
  const { start, archives } = await openUpload(requests, { ...upload, received }, linked);
  const spec = toSpec(start.spec);
  const dockerfile = start.dockerfile === undefined ? null : Buffer.from(start.dockerfile);
  if (dockerfile !== null && start.spec?.dockerfile !== undefined) throw twoDockerfiles();
  const { entries, idempotencyKey } = start;
  if (idempotencyKey !== undefined) checkIdempotencyKey(idempotencyKey);
  const detach = start.detach || idempotencyKey !== undefined;
  const secrets = toSecrets(start);
  const known = { spec, dockerfile, secrets, ...(entries.length > 0 && { entries }) };
  builds.check(caller, known);
  await using undo = new AsyncDisposableStack();
  let context: ContextStaging | null = null;
  for await (const { name, bytes } of archives) {
    const before: readonly string[] = context?.names ?? [];
    if (name !== null) builds.check(caller, { ...known, archives: [...before, name] });
    context ??= undo.use(await builds.stageContexts(caller, linked));
    await context.add(name, { bytes, declared: null });
  }
  if (!context?.summary && dockerfile === null) throw nothingToBuild();
  undo.move();
  const request = { spec, context, dockerfile, secrets, idempotencyKey, origin };
  return entries.length > 0
    ? { accepted: { matrix: await builds.startMatrix(caller, { ...request, entries }) }, detach }
    : { accepted: { record: await builds.start(caller, request) }, detach };
}

async function sendBuild(
  record: BuildRecord,
  builds: Builds,
  { caller, send, signal }: BuildCall,
): Promise<void> {
  await send({ part: { $case: 'accepted', value: toBuildRecord(record) } });
  const items = await builds.watch(caller, record.id, { logOffset: 0, eventOffset: 0, follow: true, signal });
  let ended = false;
  for await (const item of items) {
    await send({ part: toPart(item) });
    ended = item.kind === 'event' && item.event.type === 'verdict';
  }
  if (!ended) throw outlivesCall(`Build ${record.id}`);
}

/** The end of the service is not that of the build: a call that ended with OK would say so. */
function outlivesCall(what: string): KilnError {
  return new KilnError('DRAINING', `The service is stopping; ${what} goes on after its next start.`);
}

/** Log and events of all its builds as they come, each with the build it is of. */
async function sendMatrix(
  matrix: Matrix,
  builds: Builds,
  { caller, send, signal }: BuildCall,
): Promise<void> {
  await send({ part: { $case: 'matrix', value: toMatrix(matrix) } });
  const range = { logOffset: 0, eventOffset: 0, follow: true, signal };
  const watched = matrix.builds.map(async ({ id }) => ofBuild(id, await builds.watch(caller, id, range)));
  for await (const { id, item } of mergeIterables(await Promise.all(watched)))
    await send({ part: toPart(item), buildId: id });
  const ended = await builds.matrix(caller, matrix.id);
  await send({ part: { $case: 'matrix', value: toMatrix(ended) } });
  if (ended.state === 'running') throw outlivesCall(`matrix ${matrix.id}`);
}

async function* ofBuild(
  id: string,
  items: AsyncIterable<WatchItem>,
): AsyncGenerator<{ id: string; item: WatchItem }> {
  for await (const item of items) yield { id, item };
}

function twoDockerfiles(): KilnError {
  const message = "A Dockerfile is given in 'dockerfile' and as a path in 'spec'; give one of them.";
  return new KilnError('PARAM_INVALID', message, { details: { field: 'dockerfile' } });
}

function nothingToBuild(): KilnError {
  return new KilnError('FILE_MISSING', "There is nothing to build: send a context, or a 'dockerfile'.");
}
