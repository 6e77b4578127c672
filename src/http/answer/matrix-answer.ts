import type { Request, Response } from 'express';
import { mergeIterables } from '../../lib/merge.ts';
import type { BuildRecord, Verdict } from '../../model/build.ts';
import type { Builds } from '../../model/builds.ts';
import type { Caller } from '../../model/caller.ts';
import type { EventItem } from '../../model/event.ts';
import type { Matrix, MatrixBuild } from '../../model/matrix.ts';
import type { HttpSettings } from '../settings.ts';
import { answerTypes } from './build-answer.ts';
import { openStream, type Writer } from './client.ts';
import { readText } from './log-text.ts';
import { matrixTable } from './matrix-table.ts';
import { prefixLines } from './prefix-lines.ts';
import { Silence } from './silence.ts';

/** A matrix and the response that follows all of its builds. */
export type MatrixAnswer = {
  readonly caller: Caller;
  readonly request: Request;
  readonly response: Response;
  readonly matrix: Matrix;
};

type Edge = { readonly builds: Builds; readonly settings: HttpSettings };

/** Sends what the builds say, each line or event with the one it is of; resolves with the matrix at its end, which was sent too. */
export async function sendMatrix(answer: MatrixAnswer, edge: Edge, signal: AbortSignal): Promise<Matrix> {
  const { request, response } = answer;
  const type = request.accepts([...answerTypes]) || 'text/plain';
  if (request.httpVersionMinor > 0) response.set('Trailer', 'X-Build-State');
  const writer = openStream(response, { type, stallMs: edge.settings.readerStallMs }, signal);
  if (type === 'text/plain') return sendText(answer, edge, writer, signal);
  return sendEvents(answer, edge, { writer, sse: type === 'text/event-stream' }, signal);
}

async function sendText(
  { caller, matrix }: MatrixAnswer,
  { builds, settings }: Edge,
  writer: Writer,
  signal: AbortSignal,
): Promise<Matrix> {
  const labels = matrix.builds.map(({ entry }) => labelOf(entry));
  const width = Math.max(...labels.map(({ length }) => length));
  const sources = matrix.builds.map(async ({ id }, index) => {
    const items = await builds.watch(caller, id, { logOffset: 0, eventOffset: 0, follow: true, signal });
    const getEnded = (_verdict: Verdict): Promise<BuildRecord> => builds.get(caller, id);
    return prefixLines(`${labels[index]?.padEnd(width)} | `, readText(items, { id, getEnded }));
  });
  await writer.write(`kiln: matrix ${matrix.id}\n`);
  using silence = new Silence(writer, settings.keepAliveMs);
  for await (const lines of mergeIterables(await Promise.all(sources)))
    await writer.write(`${silence.end()}${lines}`);
  const ended = await builds.matrix(caller, matrix.id);
  await writer.write(`${silence.end()}${matrixTable(ended)}`);
  return ended;
}

async function sendEvents(
  { caller, matrix }: MatrixAnswer,
  { builds, settings }: Edge,
  { writer, sse }: { writer: Writer; sse: boolean },
  signal: AbortSignal,
): Promise<Matrix> {
  const write = (type: string, data: object): Promise<void> =>
    writer.write(sse ? `event: ${type}\ndata: ${JSON.stringify(data)}\n\n` : `${JSON.stringify(data)}\n`);
  const timer = setInterval(() => writer.nudge(() => (sse ? ':\n\n' : '')), settings.keepAliveMs);
  try {
    const sources = matrix.builds.map(async ({ entry, id }) => {
      const items = await builds.events(caller, id, { offset: 0, follow: true, signal });
      return withBuild(items, { entry, build: id });
    });
    for await (const event of mergeIterables(await Promise.all(sources))) await write(event.type, event);
  } finally {
    clearInterval(timer);
  }
  const ended = await builds.matrix(caller, matrix.id);
  await write('matrix', { type: 'matrix', matrix: ended });
  return ended;
}

async function* withBuild<Of extends object>(items: AsyncIterable<EventItem>, of: Of) {
  for await (const { event } of items) yield { ...of, ...event };
}

/** Such as `v0.12.5`. */
function labelOf(entry: MatrixBuild['entry']): string {
  return entry.replace(/^buildkit-/, '');
}
