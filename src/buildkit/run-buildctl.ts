import { z } from 'zod';
import type { Capabilities } from '../catalog/capabilities.ts';
import { printable } from '../lib/text.ts';
import { together } from '../lib/together.ts';
import { BuildSecrets } from '../model/build-secrets.ts';
import { KilnError } from '../model/error.ts';
import type { BuildSpec } from '../model/spec.ts';
import type { StartedCommand } from '../ssh/exec.ts';
import { buildctlArguments, type NamedContext } from './buildctl-arguments.ts';
import { copyLog, givingUp } from './copy-log.ts';
import { guestLines } from './guest-lines.ts';
import { refSchema, type StartCommand } from './history/build-history.ts';
import { completeRun } from './history/complete-run.ts';
import { KeptBytes } from './history/kept-bytes.ts';
import { Received } from './history/received.ts';
import { findMissingFrontend } from './missing-frontend.ts';
import { asToday } from './old-status.ts';
import { parseStatus } from './parse-status.ts';
import { secretFiles } from './secret-files.ts';
import { splitStatus } from './split-status.ts';

/** One run of buildctl: its inputs, by the serial numbers of the disks that are plugged in. */
export type BuildctlRun = {
  /** Of the BuildKit that runs. */
  readonly capabilities: Capabilities;
  readonly spec: BuildSpec;
  readonly contextDisk: string | null;
  /** The folder on that disk that is the context; the root by default. */
  readonly contextFolder?: string;
  /** Those that come as archives are folders on that disk, too. None by default. */
  readonly namedContexts?: readonly NamedContext[];
  readonly artifactDisk: string | null;
  readonly dockerfile: Buffer | null;
  /** None by default. */
  readonly secrets?: BuildSecrets;
  /** Starts a further command in the guest. */
  readonly start: StartCommand;
  /** Bytes of the plain progress, as they come. */
  onLog(bytes: Buffer): Promise<void>;
  /** One object of the trace: SolveStatus. */
  onStatus(status: unknown): Promise<void>;
  /** The guest has mounted the context. */
  onContextReady(): Promise<void>;
  /** Why BuildKit's history could not be read to its end; the result has a warning. */
  onHistoryLost(error: unknown): void;
};

/** What the guest says of the run. It is untrusted: a claim, to be checked where it matters. */
export type BuildctlResult = {
  readonly exitCode: number;
  readonly artifactBytes: number;
  readonly imageDigest: string | null;
  /** The frontend that could not be pulled, where that kept the build from beginning. */
  readonly missingFrontend: string | null;
  /** Processes that the guest's kernel killed meanwhile, for want of memory. */
  readonly oomKills: number;
  /** Least room that the guest's disk had meanwhile, in bytes; null where nobody looked. */
  readonly leastFreeBytes: number | null;
  /** What is not as buildctl said it. */
  readonly warnings: readonly string[];
};

/**
 * BuildKit splits logs so that one status holds about 1 MiB of them, at most three times that as JSON. A guest may send anything.
 */
const maxTraceLine = 8 * 1024 * 1024;

const resultSchema = z.object({
  exitCode: z.number().int().min(0).max(255),
  artifactExitCode: z.number().int(),
  artifactBytes: z.number().int().min(0),
  oomKills: z.number().int().min(0).default(0),
  leastFreeBytes: z.number().min(0).nullable().default(null),
  ref: refSchema.nullish().catch(null),
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
 * @throws KilnError INFRA when the guest does not say how it ended, DISK_FULL when the artifact's disk overflowed.
 */
export async function runBuildctl(
  program: StartedCommand,
  run: BuildctlRun,
  signal: AbortSignal,
): Promise<BuildctlResult> {
  const kept = new KeptBytes();
  const received = new Received(kept);
  const [{ result, missingFrontend }, code, log] = await together(signal, (linked) => {
    const { stdout, stderr, exitCode } = program.send(encodeInput(run), linked);
    return [
      readTrace(stdout, { run, received }, linked),
      exitCode,
      copyLog(stderr, kept, (bytes) => run.onLog(bytes)),
    ];
  });
  if (!result) throw new KilnError('INFRA', `The guest did not say how buildctl ended (exit code ${code}).`);
  if (result.artifactExitCode !== 0) {
    const message = 'The artifact is larger than one may be (KILN_ARTIFACT_MAX_BYTES).';
    throw new KilnError('DISK_FULL', message);
  }
  const imageDigest = result.metadata?.['containerimage.digest'] ?? null;
  const { artifactBytes, oomKills, leastFreeBytes } = result;
  const claim = { artifactBytes, oomKills, leastFreeBytes, missingFrontend };
  // What buildctl says in the end counts only where it exits with an error.
  if (result.exitCode === 0 && log.gaveUp) await run.onLog(givingUp);
  if (result.exitCode === 0) return { ...claim, exitCode: 0, imageDigest, warnings: [] };
  return { ...claim, ...(await completeRun({ ...run, ...result, log, received, kept }, signal)) };
}

/** The format is described at the top of guest/programs/build.sh. */
function encodeInput({
  capabilities,
  spec,
  contextDisk,
  contextFolder = '',
  namedContexts = [],
  artifactDisk,
  dockerfile,
  secrets = BuildSecrets.none,
}: BuildctlRun): Buffer {
  const { files, args: secretArgs } = secretFiles(secrets);
  const header = [contextDisk ?? '-', artifactDisk ?? '-', dockerfile?.length ?? '-', files.length].join(
    '\n',
  );
  const args = buildctlArguments(spec, {
    ...{ capabilities, contextFolder, namedContexts },
    dockerfileApart: dockerfile !== null,
  });
  return Buffer.concat([
    Buffer.from(`${header}\n`),
    dockerfile ?? Buffer.alloc(0),
    ...files.flatMap(({ name, content }) => [Buffer.from(`${name} ${content.length}\n`), content]),
    Buffer.from([...args, ...secretArgs].map((word) => `${word}\0`).join('')),
  ]);
}

async function readTrace(
  stdout: AsyncIterable<Buffer>,
  { run, received }: { run: BuildctlRun; received: Received },
  signal: AbortSignal,
): Promise<{ result: z.infer<typeof resultSchema> | null; missingFrontend: string | null }> {
  let result: z.infer<typeof resultSchema> | null = null;
  let missingFrontend: string | null = null;
  let ready = false;
  // Read to its end also after the result: a channel closes only when nothing is left unread.
  for await (const line of guestLines(stdout, maxTraceLine)) {
    // One chunk may hold thousands.
    signal.throwIfAborted();
    if (line.length === 0) continue;
    const message = parseLine(line);
    const own = ownLineSchema.safeParse(message);
    if (!own.success) {
      const status = asToday(message);
      received.add(status);
      missingFrontend ??= findMissingFrontend(status);
      for (const part of splitStatus(status, line.length)) await run.onStatus(part);
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
    return parseStatus(line);
  } catch (error) {
    if (error instanceof KilnError) throw error;
    throw new KilnError('INFRA', 'The guest sent a trace that is not JSON.', { cause: error });
  }
}
