import { execFile } from 'node:child_process';
import { tmpdir } from 'node:os';
import { z } from 'zod';

const moduleSchema = z.object({
  Version: z.string(),
  Time: z.coerce.date().optional(),
  /** The folder the module was unpacked into, and its hash as go.sum has it: `mod download` only. */
  Dir: z.string().optional(),
  Sum: z.string().optional(),
  Origin: z.object({ Hash: z.string().optional(), Ref: z.string().optional() }).optional(),
  Error: z.string().optional(),
});

/** What Go says of a module at one version. */
export type GoModule = z.infer<typeof moduleSchema>;

/** A module that cannot be had: the message begins with its name. */
export class ModuleMissing extends Error {
  override readonly name = 'ModuleMissing';
}

/**
 * Runs the machine's Go; its settings (GOPROXY and the like) are the operator's.
 * @throws Error with what Go printed last
 */
export async function runGo(
  args: readonly string[],
  { cwd = tmpdir(), env = {} }: { cwd?: string; env?: Readonly<Record<string, string>> } = {},
): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = { cwd, env: { ...process.env, ...env }, maxBuffer: 64 * 1024 * 1024 };
    execFile('go', args, options, (error, stdout, stderr) => {
      if (!error) resolve(stdout);
      // With -json Go writes why a download failed into its output.
      else reject(new Error(reasonIn(stdout) ?? lastMessage(stderr) ?? error.message));
    });
  });
}

/** Time and, where the module proxy tells it, origin of a module. @throws ModuleMissing */
export async function askModule(path: string, version: string): Promise<GoModule> {
  return parseModule(await goOrMissing(path, version, ['list', '-m', '-json']));
}

/**
 * Downloads a module, checked against Go's checksum database unless `env` says otherwise.
 * @throws ModuleMissing
 */
export async function downloadModule(
  path: string,
  version: string,
  env: Readonly<Record<string, string>> = {},
): Promise<{ directory: string; hash: string; origin: GoModule['Origin'] }> {
  const answer = await goOrMissing(path, version, ['mod', 'download', '-json'], env);
  const { Dir: directory, Sum: hash, Origin: origin } = parseModule(answer);
  if (!directory || !hash) throw new ModuleMissing(`${path}@${version}: Go tells neither folder nor hash`);
  return { directory, hash, origin };
}

async function goOrMissing(
  path: string,
  version: string,
  command: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<string> {
  try {
    // Flags that an operator has set for builds are no good outside of a module.
    return await runGo([...command, `${path}@${version}`], { env: { ...env, GOFLAGS: '-mod=mod' } });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    const module = `${path}@${version}: `;
    throw new ModuleMissing(reason.startsWith(module) ? reason : module + reason);
  }
}

function parseModule(text: string): GoModule {
  return moduleSchema.parse(JSON.parse(text));
}

function reasonIn(stdout: string): string | null {
  try {
    return moduleSchema.parse(JSON.parse(stdout)).Error ?? null;
  } catch {
    return null;
  }
}

/** Go's messages begin with `go: `; what follows one is indented. */
function lastMessage(stderr: string): string | null {
  const message = stderr.split(/^go: /m).at(-1) ?? '';
  return message.trim().replaceAll(/\s*\n\s*/g, ' ') || null;
}
