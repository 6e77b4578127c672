import type { Request, Response } from 'express';
import { type Caller, requireRole } from '../model/caller.ts';
import { type Operation, rebuildSchema } from '../model/operation.ts';
import type { EvidenceKind, Operations } from '../model/operations.ts';
import { endAnswer } from './answer/build-answer.ts';
import { openStream, watchClient } from './answer/client.ts';
import { Silence } from './answer/silence.ts';
import { pruneSchema, rollBackSchema } from './docs/schemas.ts';
import { idOf } from './id-of.ts';
import { readJson } from './json-body.ts';
import { prefersAsync, sendAccepted } from './prefer.ts';
import type { HttpSettings } from './settings.ts';
import type { CallerHandler } from './with-caller.ts';

export type OperationEdge = { readonly operations: Operations; readonly settings: HttpSettings };

/** The log streams back; whoever leaves leaves the operation alone. */
export function rebuild(edge: OperationEdge): CallerHandler {
  return async (caller, request, response) => {
    // Before its body is read.
    requireRole(caller, 'admin');
    const asked = await readJson(rebuildSchema, request, response);
    const operation = await edge.operations.rebuild(caller, asked);
    await answer({ caller, request, response, operation }, edge);
  };
}

export function resume(edge: OperationEdge): CallerHandler {
  return async (caller, request, response) => {
    const operation = await edge.operations.resume(caller, idOf(request));
    await answer({ caller, request, response, operation }, edge);
  };
}

export function rollBack({ operations }: OperationEdge): CallerHandler {
  return async (caller, request, response) => {
    requireRole(caller, 'admin');
    const { entry } = await readJson(rollBackSchema, request, response);
    response.json(await operations.rollBack(caller, entry));
  };
}

export function prune({ operations }: OperationEdge): CallerHandler {
  return async (caller, request, response) => {
    requireRole(caller, 'admin');
    const { dryRun } = await readJson(pruneSchema, request, response);
    response.json({ dryRun, images: await operations.prune(caller, { dryRun }) });
  };
}

export function listOperations({ operations }: OperationEdge): CallerHandler {
  return async (caller, _request, response) =>
    void response.json({ operations: await operations.list(caller) });
}

export function getOperation({ operations }: OperationEdge): CallerHandler {
  return async (caller, request, response) => void response.json(await operations.get(caller, idOf(request)));
}

/** As whoever made the formats calls them. */
const evidenceTypes = {
  sbom: 'application/spdx+json',
  provenance: 'application/vnd.dsse.envelope.v1+json',
} as const satisfies Record<EvidenceKind, string>;

export function getEvidence({ operations }: OperationEdge, kind: EvidenceKind): CallerHandler {
  return async (caller, request, response) =>
    void response.type(evidenceTypes[kind]).send(await operations.evidence(caller, idOf(request), kind));
}

export function cancelOperation({ operations }: OperationEdge): CallerHandler {
  return async (caller, request, response) =>
    void response.json(await operations.cancel(caller, idOf(request), 'The operation was cancelled.'));
}

/** An operation and the response that follows it. */
type OperationAnswer = {
  readonly caller: Caller;
  readonly request: Request;
  readonly response: Response;
  readonly operation: Operation;
};

async function answer(begun: OperationAnswer, edge: OperationEdge): Promise<void> {
  const { request, response, operation } = begun;
  response.set('Location', `/admin/operations/${operation.id}`);
  if (prefersAsync(request)) sendAccepted(request, response, operation);
  else await followOperation(begun, edge);
}

async function followOperation(
  { caller, request, response, operation }: OperationAnswer,
  { operations, settings }: OperationEdge,
): Promise<void> {
  using client = watchClient(request);
  const { signal } = client;
  const range = { logOffset: 0, eventOffset: 0, follow: true, signal };
  const items = await operations.watch(caller, operation.id, range);
  if (request.httpVersionMinor > 0) response.set('Trailer', 'X-Build-State');
  const writer = openStream(response, { type: 'text/plain', stallMs: settings.readerStallMs }, signal);
  await writer.write(`kiln: operation ${operation.id}\n`);
  using silence = new Silence(writer, settings.keepAliveMs);
  for await (const item of items) {
    if (item.kind !== 'log') continue;
    await writer.write(silence.end());
    await writer.write(item.data);
  }
  const { state, started, ended, verdict } = await operations.get(caller, operation.id);
  const seconds = (Date.parse(ended ?? started) - Date.parse(started)) / 1000;
  const why = state === 'succeeded' ? '' : `: ${verdict?.message}`;
  await writer.write(
    `${silence.end()}kiln: operation ${operation.id} ${state} after ${seconds.toFixed(1)} s${why}\n`,
  );
  await endAnswer({ response, onFailure: 'cut' }, { state, exitCode: null }, settings.readerStallMs);
}
