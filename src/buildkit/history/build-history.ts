import { z } from 'zod';
import { splitLines } from '../../lib/lines.ts';
import type { StartedCommand } from '../../ssh/exec.ts';
import { type SolveStatus, statusSchema } from './solve-status.ts';

/** Starts a command in the guest. */
export type StartCommand = (command: string, signal: AbortSignal) => Promise<StartedCommand>;

/** How BuildKit itself says that a build ended. It is what the guest says, as all else. */
export type HistoryRecord = { readonly succeeded: boolean; readonly imageDigest: string | null };

/** Ids as BuildKit makes them (identity/randomid.go): nothing in them means anything to a shell. */
export const refSchema = z.string().regex(/^[a-z0-9]{25}$/);

const maxLineBytes = 8 * 1024 * 1024;

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
  for await (const line of readLines(start, "buildctl debug histories --format '{{json .}}'", signal)) {
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
  for await (const line of readLines(start, `buildctl debug logs --progress=rawjson ${ref}`, signal)) {
    const { data } = statusSchema.safeParse(parse(line));
    if (data) yield data;
  }
}

/** What the command prints until it ends, however it ends: what it did not say is missing, and no more can be done. */
async function* readLines(start: StartCommand, command: string, signal: AbortSignal): AsyncGenerator<Buffer> {
  const { stdout, stderr, exitCode } = (await start(command, signal)).send(undefined, signal);
  const dropped = drop(stderr);
  dropped.catch(() => undefined);
  yield* splitLines(stdout, maxLineBytes);
  await dropped;
  await exitCode;
}

async function drop(chunks: AsyncIterable<Buffer>): Promise<void> {
  for await (const _chunk of chunks);
}

function parse(line: Buffer): unknown {
  try {
    return JSON.parse(line.toString('utf8'));
  } catch {
    return null;
  }
}
