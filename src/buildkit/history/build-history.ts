import { z } from 'zod';
import { withDeadline } from '../../lib/abort.ts';
import { KilnError } from '../../model/error.ts';
import type { StartedCommand } from '../../ssh/exec.ts';
import { guestLines } from '../guest-lines.ts';
import { parseStatus } from '../parse-status.ts';
import { type SolveStatus, statusSchema } from './solve-status.ts';

/** Starts a command in the guest. */
export type StartCommand = (command: string, signal: AbortSignal) => Promise<StartedCommand>;

/** How BuildKit itself says that a build ended. It is what the guest says, as all else. */
export type HistoryRecord = { readonly succeeded: boolean; readonly imageDigest: string | null };

/** Ids as BuildKit makes them (identity/randomid.go): nothing in them means anything to a shell. */
export const refSchema = z.string().regex(/^[a-z0-9]{25}$/);

const maxLineBytes = 8 * 1024 * 1024;
/** The records of a VM that has made one build. */
const maxRecordsBytes = 64 * 1024 * 1024;
/** JSON around each piece of a log is many times what a short piece holds. */
const maxHistoryBytes = 1024 * 1024 * 1024;
/** A busy machine under emulation takes some seconds to begin. */
const patienceMs = 60_000;

/** BuildHistoryEvent (api/services/control/control.proto of v0.20.2) as Go's encoding/json writes it. */
const eventSchema = z.object({
  record: z.object({
    Ref: z.string(),
    CompletedAt: z.object({}).nullish(),
    error: z.object({}).nullish(),
    ExporterResponse: z
      .object({
        'containerimage.digest': z
          .string()
          .regex(/^sha256:[0-9a-f]{64}$/)
          .optional(),
      })
      .nullish(),
  }),
});

/** The record of the build `ref`; null where BuildKit has none, or no history at all (before v0.11), or the build has not ended. */
export async function readHistoryRecord(
  start: StartCommand,
  ref: string,
  signal: AbortSignal,
): Promise<HistoryRecord | null> {
  let found: HistoryRecord | null = null;
  const listing = { command: "buildctl debug histories --format '{{json .}}'", maxBytes: maxRecordsBytes };
  for await (const line of readLines(start, listing, signal)) {
    const { data } = eventSchema.safeParse(parse(line));
    if (data?.record.Ref !== ref || !data.record.CompletedAt) continue;
    found = {
      succeeded: !data.record.error,
      imageDigest: data.record.ExporterResponse?.['containerimage.digest'] ?? null,
    };
  }
  return found;
}

/** All that BuildKit keeps of the progress of the build `ref`, from its beginning. */
export async function* readHistoryLog(
  start: StartCommand,
  ref: string,
  signal: AbortSignal,
): AsyncGenerator<SolveStatus> {
  const telling = { command: `buildctl debug logs --progress=rawjson ${ref}`, maxBytes: maxHistoryBytes };
  for await (const line of readLines(start, telling, signal)) {
    const { data } = statusSchema.safeParse(parse(line));
    if (data) yield data;
  }
}

/** What the command prints until it ends, however it ends: what it did not say is missing, and no more can be done. */
async function* readLines(
  start: StartCommand,
  { command, maxBytes }: { command: string; maxBytes: number },
  signal: AbortSignal,
): AsyncGenerator<Buffer, void> {
  const left = new AbortController();
  const linked = AbortSignal.any([signal, left.signal]);
  const { stdout, stderr, exitCode } = (await start(command, linked)).send(undefined, linked);
  const rest = Promise.all([drop(stderr), exitCode]);
  rest.catch(() => undefined);
  try {
    yield* guestLines(patiently(upTo(maxBytes, stdout), signal), maxLineBytes);
    await withPatience(signal, () => rest);
  } finally {
    // Whoever stops reading ends the command.
    left.abort();
    await Promise.allSettled([rest]);
  }
}

/** @throws KilnError INFRA when nothing comes for too long: the rest of the build's time is not for waiting */
async function* patiently(chunks: AsyncIterable<Buffer>, signal: AbortSignal): AsyncGenerator<Buffer> {
  const iterator = chunks[Symbol.asyncIterator]();
  for (;;) {
    const { done, value } = await withPatience(signal, () => iterator.next());
    if (done) return;
    yield value;
  }
}

function withPatience<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  const reason = (): Error =>
    new KilnError('INFRA', `The guest said nothing of its history for ${patienceMs / 1000} s.`);
  return withDeadline({ ms: patienceMs, signal, reason }, work);
}

/** @throws KilnError INFRA for more than `maxBytes` */
async function* upTo(maxBytes: number, chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let left = maxBytes;
  for await (const chunk of chunks) {
    left -= chunk.length;
    if (left < 0) throw new KilnError('INFRA', `The guest sent more than ${maxBytes} bytes of its history.`);
    yield chunk;
  }
}

async function drop(chunks: AsyncIterable<Buffer>): Promise<void> {
  for await (const _chunk of chunks);
}

function parse(line: Buffer): unknown {
  try {
    return parseStatus(line);
  } catch (error) {
    if (error instanceof KilnError) throw error;
    return null;
  }
}
