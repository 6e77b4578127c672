import { z } from 'zod';
import { splitLines } from '../lib/lines.ts';
import { printable } from '../lib/text.ts';
import { KilnError } from '../model/error.ts';
import type { BuildSpec } from '../model/spec.ts';
import type { StartedCommand } from '../ssh/exec.ts';
import { buildctlArguments } from './buildctl-arguments.ts';
import { findMissingFrontend } from './missing-frontend.ts';
import { proxyUrl } from './way-out.ts';

/** One run of buildctl: its inputs, by the serial numbers of the disks that are plugged in. */
export type BuildctlRun = {
  readonly spec: BuildSpec;
  readonly contextDisk: string | null;
  /** The folder on that disk that is the context; the root by default. */
  readonly contextFolder?: string;
  readonly artifactDisk: string | null;
  readonly dockerfile: Buffer | null;
  /** Bytes of the plain progress, as they come. */
  onLog(bytes: Buffer): Promise<void>;
  /** One object of the trace: SolveStatus. */
  onStatus(status: unknown): Promise<void>;
  /** The guest has mounted the context. */
  onContextReady(): Promise<void>;
};

/** What the guest says of the run. It is untrusted: a claim, to be checked where it matters. */
export type BuildctlResult = {
  readonly exitCode: number;
  readonly artifactBytes: number;
  readonly imageDigest: string | null;
  /** The frontend that could not be pulled, where that kept the build from beginning. */
  readonly missingFrontend: string | null;
};

/**
 * BuildKit splits logs so that one status holds about 1 MiB of them, at most three times that as JSON. A guest may send anything: JSON makes
 * of each MiB up to 50 MiB of objects.
 */
const maxTraceLine = 8 * 1024 * 1024;

const resultSchema = z.object({
  exitCode: z.number().int().min(0).max(255),
  artifactExitCode: z.number().int(),
  artifactBytes: z.number().int().min(0),
  metadata: z
    .object({
      'containerimage.digest': z
        .string()
        .regex(/^sha256:[0-9a-f]{64}$/)
        .optional(),
    })
    .nullable(),
});
/** Why buildctl could not be started. */
const problemSchema = z.object({ problem: z.string().max(200) });
/** The lines of build.sh itself. */
const ownLineSchema = z.object({ kiln: z.union([z.literal('ready'), problemSchema, resultSchema]) });

/**
 * Runs buildctl in the guest to its end.
 * @param program `buildScript`, started.
 * @throws KilnError INFRA when the guest does not say how it ended, ARTIFACT_INVALID when the artifact's disk overflowed.
 */
export async function runBuildctl(
  program: StartedCommand,
  run: BuildctlRun,
  signal: AbortSignal,
): Promise<BuildctlResult> {
  const { stdout, stderr, exitCode } = program.send(encodeInput(run), signal);
  const [{ result, missingFrontend }, code] = await Promise.all([
    readTrace(stdout, run),
    exitCode,
    copyLog(stderr, run),
  ]);
  if (!result) throw new KilnError('INFRA', `The guest did not say how buildctl ended (exit code ${code}).`);
  if (result.artifactExitCode !== 0) {
    throw new KilnError('ARTIFACT_INVALID', 'The artifact does not fit on the disk it was given.');
  }
  return {
    exitCode: result.exitCode,
    artifactBytes: result.artifactBytes,
    imageDigest: result.metadata?.['containerimage.digest'] ?? null,
    missingFrontend,
  };
}

/** The format is described at the top of guest/programs/build.sh. */
function encodeInput({
  spec,
  contextDisk,
  contextFolder = '',
  artifactDisk,
  dockerfile,
}: BuildctlRun): Buffer {
  const header = [contextDisk ?? '-', artifactDisk ?? '-', dockerfile?.length ?? '-'].join('\n');
  const args = buildctlArguments(spec, {
    contextFolder,
    dockerfileApart: dockerfile !== null,
    proxy: proxyUrl,
  });
  return Buffer.concat([
    Buffer.from(`${header}\n`),
    dockerfile ?? Buffer.alloc(0),
    Buffer.from(args.map((word) => `${word}\0`).join('')),
  ]);
}

async function readTrace(
  stdout: AsyncIterable<Buffer>,
  run: BuildctlRun,
): Promise<{ result: z.infer<typeof resultSchema> | null; missingFrontend: string | null }> {
  let result: z.infer<typeof resultSchema> | null = null;
  let missingFrontend: string | null = null;
  let ready = false;
  // Read to its end also after the result: a channel closes only when nothing is left unread.
  for await (const line of splitLines(stdout, maxTraceLine)) {
    if (line.length === 0) continue;
    const message = parseLine(line);
    const own = ownLineSchema.safeParse(message);
    if (!own.success) {
      missingFrontend ??= findMissingFrontend(message);
      await run.onStatus(message);
    } else if (own.data.kiln === 'ready') {
      // Once: a guest that says so without end must not make us write it down without end.
      if (!ready) await run.onContextReady();
      ready = true;
    } else if ('problem' in own.data.kiln) {
      throw new KilnError('INFRA', `In the guest ${printable(own.data.kiln.problem)}.`);
    } else {
      result = own.data.kiln;
    }
  }
  return { result, missingFrontend };
}

function parseLine(line: Buffer): unknown {
  try {
    return JSON.parse(line.toString('utf8'));
  } catch (error) {
    throw new KilnError('INFRA', 'The guest sent a trace that is not JSON.', { cause: error });
  }
}

/** What buildctl says first when it is told to write a trace; a user who runs the same line by hand does not see it. */
const traceNotice = /^time="[^"\n]*" level=info msg="tracing logs to [^"\n]*"\n/;
const maxNoticeBytes = 1024;

async function copyLog(stderr: AsyncIterable<Buffer>, run: BuildctlRun): Promise<void> {
  let head: Buffer | null = Buffer.alloc(0);
  for await (const bytes of stderr) {
    if (!head) {
      await run.onLog(bytes);
      continue;
    }
    head = Buffer.concat([head, bytes]);
    if (!head.includes('\n') && head.length < maxNoticeBytes) continue;
    await logRest(head, run);
    head = null;
  }
  if (head) await logRest(head, run);
}

async function logRest(head: Buffer, run: BuildctlRun): Promise<void> {
  const notice = traceNotice.exec(head.toString('latin1'))?.[0].length ?? 0;
  if (head.length > notice) await run.onLog(head.subarray(notice));
}
