import type { Request, Response } from 'express';
import { type BuildRecord, isTerminal, type Verdict } from '../../model/build.ts';
import type { Builds } from '../../model/builds.ts';
import type { Caller } from '../../model/caller.ts';
import { KilnError } from '../../model/error.ts';
import type { HttpSettings } from '../settings.ts';
import { openStream } from './client.ts';
import { cutOff } from './cut-off.ts';
import { writeEvents } from './events.ts';
import { writeLog } from './log-text.ts';

/** One build and the response that follows it. */
export type BuildAnswer = {
  readonly caller: Caller;
  readonly request: Request;
  readonly response: Response;
  readonly record: BuildRecord;
  readonly onFailure: 'cut' | 'end';
};

/** Types that the answer may have; the first is the default. */
export const answerTypes = ['text/plain', 'application/x-ndjson', 'text/event-stream'] as const;

/** Sends what the build says, as it says it; resolves with how it ended, which has been sent too, or with its state where the service ends before. */
export async function sendBuild(
  { caller, request, response, record }: BuildAnswer,
  { builds, settings }: { builds: Builds; settings: HttpSettings },
  signal: AbortSignal,
): Promise<Pick<BuildRecord, 'state'> & Pick<Verdict, 'exitCode'>> {
  const type = request.accepts([...answerTypes]) || 'text/plain';
  // HTTP/1.0 has neither chunks nor trailers.
  if (request.httpVersionMinor > 0) response.set('Trailer', 'X-Build-State, X-Build-Exit-Code');
  const stream = openStream(response, { type, stallMs: settings.readerStallMs }, signal);
  const { id } = record;
  const { keepAliveMs } = settings;
  const follow = { follow: true, signal } as const;
  const verdict =
    type === 'text/plain'
      ? await writeLog(await builds.watch(caller, id, { logOffset: 0, eventOffset: 0, ...follow }), stream, {
          ...{ id, keepAliveMs, getEnded: (ended: Verdict) => getEnded({ caller, record }, ended, builds) },
        })
      : await writeEvents(await builds.events(caller, id, { offset: 0, ...follow }), stream, {
          ...{ sse: type === 'text/event-stream', keepAliveMs },
        });
  if (verdict) return verdict;
  const { state } = await builds.get(caller, id);
  if (isTerminal(state)) throw new KilnError('INTERNAL', 'The build ended without a verdict.');
  return { state, exitCode: null };
}

/** A reader may be so slow that the record is removed before it has read the log: then the times are lost, and no more. */
async function getEnded(
  { caller, record }: Pick<BuildAnswer, 'caller' | 'record'>,
  verdict: Verdict,
  builds: Builds,
): Promise<BuildRecord> {
  try {
    return await builds.get(caller, record.id);
  } catch (error) {
    if (KilnError.from(error).code !== 'NOT_FOUND') throw error;
    return { ...record, state: verdict.state, verdict };
  }
}

/** Ends the response as the build, or the matrix, ended: whole, with trailers, or cut off. */
export async function endAnswer(
  { response, onFailure }: Pick<BuildAnswer, 'response' | 'onFailure'>,
  { state, exitCode }: { readonly state: string; readonly exitCode: number | null },
  stallMs: number,
): Promise<void> {
  if (state !== 'succeeded' && onFailure === 'cut') {
    await cutOff(response, stallMs);
    return;
  }
  response.addTrailers({
    'X-Build-State': state,
    ...(exitCode !== null && { 'X-Build-Exit-Code': String(exitCode) }),
  });
  response.end();
}
