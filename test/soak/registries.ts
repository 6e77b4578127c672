import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { findProgram } from '../../src/lib/process/find-program.ts';
import { runTool } from '../../src/lib/process/run-tool.ts';
import { curl } from '../e2e/harness.ts';

/** Where the programs of one family get their packages: as on this machine, where its own tools are set to something. */
export type Registry = {
  readonly url: string;
  /** What must be open to builds: its address need not be a public one. */
  readonly opened: readonly string[];
};

const { signal } = new AbortController();

/**
 * @param own What this machine's tool is set to; null where it has none, or says nothing.
 * @param probe Path of something that must be there.
 * @throws Error where this machine itself cannot reach it
 */
export async function findRegistry(
  { own, defaults }: { own: string | null; defaults: readonly string[] },
  probe: string,
): Promise<Registry> {
  const url = (own ?? defaults[0] ?? '').replace(/\/+$/, '');
  const answer = await curl('--location', '--fail', '--max-time', '60', `${url}/${probe}`);
  if (answer.exit !== 0)
    throw new Error(`This machine itself cannot reach ${url}/${probe}: curl exits with ${answer.exit}.`);
  const linked = Array.from(answer.body.matchAll(/ href="(https?:\/\/[^/"]+)/g), ([, origin = '']) => origin);
  const redirected = Array.from(
    answer.headers.matchAll(/^location: (https?:\/\/\S+)/gim),
    ([, to = '']) => to,
  );
  return { url, opened: [...new Set([url, ...linked, ...redirected].map(hostAndPort))] };
}

function hostAndPort(text: string): string {
  const { hostname, port, protocol } = new URL(text);
  return `${hostname}:${port || (protocol === 'https:' ? 443 : 80)}`;
}

export function npmRegistry(): Promise<string | null> {
  return ask('npm', ['config', 'get', 'registry']);
}

export async function pipIndex(): Promise<string | null> {
  return process.env['PIP_INDEX_URL'] ?? (await ask('pip3', ['config', 'get', 'global.index-url']));
}

export async function goProxy(): Promise<string | null> {
  const proxies = (await ask('go', ['env', 'GOPROXY'])) ?? '';
  return /https?:\/\/[^,|]+/.exec(proxies)?.[0] ?? null;
}

/** The mirror in the settings of Maven's user. */
export async function mavenMirror(): Promise<string | null> {
  const settings = await readFile(join(homedir(), '.m2/settings.xml'), 'utf8').catch(() => '');
  return /<mirror>[\s\S]*?<url>\s*([^<\s]+)\s*<\/url>/.exec(settings)?.[1] ?? null;
}

/** What a tool prints; null where it is not there, or has nothing to say. */
async function ask(command: string, args: readonly string[]): Promise<string | null> {
  if (!(await findProgram(command, process.env['PATH'] ?? ''))) return null;
  const printed = await runTool(command, args, signal).catch(() => '');
  return printed.trim() || null;
}
