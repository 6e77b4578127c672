import { runTool } from '../lib/process/run-tool.ts';

/** A Go module that is in a program. */
export type GoModule = {
  readonly path: string;
  readonly version: string;
  /** As go.sum has it, `h1:…`; null for the program's own module, which is pinned elsewhere. */
  readonly hash: string | null;
};

/** The modules that programs were built from, by what the Go linker wrote into them; each once, by path. @throws Error as `runTool` */
export async function readGoModules(programs: readonly string[], signal: AbortSignal): Promise<GoModule[]> {
  const modules = new Map<string, GoModule>();
  for (const program of programs) {
    const text = await runTool('go', ['version', '-m', program], signal);
    for (const module of parseGoVersion(text)) modules.set(`${module.path}@${module.version}`, module);
  }
  return [...modules.values()].toSorted((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0));
}

/**
 * What `go version -m` prints: a line for each module, its words separated by tabs. A module that is replaced is followed by what is
 * there in its place.
 */
export function parseGoVersion(text: string): GoModule[] {
  const modules: GoModule[] = [];
  for (const line of text.split('\n')) {
    const [, kind, path = '', version = '', hash] = line.split('\t');
    if (kind === '=>') modules.pop();
    if (kind === 'dep' || kind === '=>')
      modules.push({ path, version, hash: hash?.startsWith('h1:') ? hash : null });
  }
  return modules;
}
