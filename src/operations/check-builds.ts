import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { runBuildctl } from '../buildkit/run-buildctl.ts';
import { buildScript } from '../guest/guest-files.ts';
import type { WarmVm } from '../guest/warm-vm.ts';
import { withDeadline } from '../lib/abort.ts';
import { printable } from '../lib/text.ts';
import { KilnError } from '../model/error.ts';
import { parseSpec } from '../model/spec.ts';
import { capture } from '../ssh/capture.ts';

const expectedSchema = z.strictObject({ exitCode: z.number(), says: z.array(z.string()) });

/** A build that a new VM image must do right: a folder of images/checks. */
export type CheckBuild = {
  readonly name: string;
  readonly dockerfile: Buffer;
  readonly expected: z.infer<typeof expectedSchema>;
};

/** One takes seconds, under emulation too. */
const buildMs = 180_000;
/** Of a log, beyond which it says nothing more to whoever checks it. */
const maxLogBytes = 1024 * 1024;

/** In their order. */
export async function readCheckBuilds(imagesDirectory: string): Promise<readonly CheckBuild[]> {
  const parent = join(imagesDirectory, 'checks');
  const folders = (await readdir(parent, { withFileTypes: true })).filter((item) => item.isDirectory());
  return Promise.all(
    folders
      .map(({ name }) => name)
      .toSorted()
      .map(async (name) => ({
        name,
        dockerfile: await readFile(join(parent, name, 'Dockerfile')),
        expected: expectedSchema.parse(
          JSON.parse(await readFile(join(parent, name, 'expected.json'), 'utf8')),
        ),
      })),
  );
}

/** The context of all of them, from what every guest has: no image need be pulled. */
const contextScript = `set -eu
cd /var/lib/kiln/build/context
mkdir -p root/bin
for program in sh cat; do
  path=$(command -v $program)
  cp --dereference "$path" root/bin/
  cp --dereference --parents $(ldd "$path" | grep -o '/[^ )]*') root/
done
`;

/**
 * Builds all of them in a VM of a new image, one after the other.
 * @param say A line for people.
 * @throws KilnError CANARY_FAILED
 */
export async function checkBuilds(
  { vm, checks }: { vm: WarmVm; checks: readonly CheckBuild[] },
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<void> {
  await capture(vm.connection, 'sh', { input: Buffer.from(contextScript), signal });
  // Each run takes a program of its own; the first one waits already.
  let program = vm.program;
  for (const check of checks) {
    const started = performance.now();
    const { exitCode, log } = await runCheck(check, { vm, program }, signal);
    const { expected, name } = check;
    const missing = expected.says.find((text) => !log.includes(text));
    if (exitCode !== expected.exitCode)
      fail(name, `buildctl exits with ${exitCode}, not ${expected.exitCode}`, log);
    if (missing !== undefined) fail(name, `its log does not say '${missing}'`, log);
    say(`check  builds ${name} in ${((performance.now() - started) / 1000).toFixed(1)} s`);
    program = await vm.connection.start(buildScript, signal);
  }
}

function fail(name: string, how: string, log: string): never {
  const end = log
    .trim()
    .split('\n')
    .slice(-10)
    .map((line) => printable(line))
    .join('\n');
  throw new KilnError(
    'CANARY_FAILED',
    `A VM of the new image does not build images/checks/${name}: ${how}. Its log ends:\n${end}`,
  );
}

/** The way every build goes, but for its disks. */
async function runCheck(
  { name, dockerfile }: CheckBuild,
  { vm, program }: { vm: WarmVm; program: WarmVm['program'] },
  signal: AbortSignal,
): Promise<{ exitCode: number; log: string }> {
  const nothing = async (): Promise<void> => undefined;
  let log = '';
  const reason = (): Error =>
    new KilnError(
      'CANARY_FAILED',
      `In a VM of the new image, images/checks/${name} was not built within ${buildMs / 1000} s.`,
    );
  const { exitCode } = await withDeadline({ ms: buildMs, signal, reason }, (linked) =>
    runBuildctl(
      program,
      {
        ...{ capabilities: vm.capabilities, spec: parseSpec({}), dockerfile },
        ...{ contextDisk: null, artifactDisk: null },
        start: (command, limited) => vm.connection.start(command, limited),
        onLog: async (bytes) => {
          if (log.length < maxLogBytes) log += bytes.toString('utf8');
        },
        ...{ onStatus: nothing, onContextReady: nothing, onHistoryLost: () => undefined },
      },
      linked,
    ),
  );
  return { exitCode, log };
}
