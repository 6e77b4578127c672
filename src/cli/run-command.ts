import { type ParseArgsOptionDescriptor, parseArgs } from 'node:util';
import { printable } from '../lib/text.ts';
import { KilnError } from '../model/error.ts';
import type { Command, CommandArguments, CommandContext } from './command.ts';
import { keyCommands } from './key-commands.ts';
import { operationCommands } from './operation-commands.ts';
import { tokenCommands } from './token-commands.ts';

const commands: readonly Command[] = [...tokenCommands, ...keyCommands, ...operationCommands];

/**
 * Runs the command that the arguments name.
 * @param open Gives what it needs of the process, once it is known what is asked for.
 * @throws KilnError REQUEST_INVALID where there is no such command or it takes other arguments, and what the command throws
 */
export async function runCommand(args: readonly string[], open: () => CommandContext): Promise<void> {
  const command = commands.find(({ name }) => `${args.join(' ')} `.startsWith(`${name} `));
  if (!command) {
    const asked = printable(args.slice(0, 2).join(' '));
    throw misused(`There is no command '${asked}'; npm run kiln -- --help lists those that there are.`);
  }
  await command.run(readArguments(command, args.slice(command.name.split(' ').length)), open());
}

/** Whether only the list of the commands is asked for. */
export function asksForUsage(args: readonly string[]): boolean {
  return args.length === 0 || args[0] === 'help' || args.includes('--help') || args.includes('-h');
}

export function renderCommands(): string {
  const lines = commands.map(
    ({ name, takes, summary }) => `  ${`${name} ${takes}`.trimEnd()}\n    ${summary}`,
  );
  return `npm run kiln -- COMMAND works on this machine's kiln: tokens and key in its data folder (KILN_DATA_DIR), also while that runs; all else by its API, with KILN_TOKEN\nwhere tokens are needed. --url URL calls another.\n\n${lines.join('\n')}`;
}

function readArguments(command: Command, args: readonly string[]): CommandArguments {
  const parsed = parse(args, command);
  const usage = `npm run kiln -- ${command.name} ${command.takes}`.trimEnd();
  if (typeof parsed === 'string') throw misused(`${parsed}. Write: ${usage}`);
  if (parsed.words.length !== command.words) throw misused(`Write: ${usage}`);
  return parsed;
}

/** The arguments, or what is wrong with them, without a full stop. */
function parse(args: readonly string[], command: Command): CommandArguments | string {
  const { options, lists = [], flags = [] } = command;
  const known = (names: readonly string[], kind: ParseArgsOptionDescriptor) =>
    names.map((name) => [name, kind] as const);
  const all = Object.fromEntries([
    ...known(options, { type: 'string' }),
    ...known(lists, { type: 'string', multiple: true }),
    ...known(flags, { type: 'boolean' }),
  ]);
  try {
    const { values, positionals } = parseArgs({ args: [...args], options: all, allowPositionals: true });
    const given = (names: readonly string[]) => names.filter((name) => values[name] !== undefined);
    return {
      options: Object.fromEntries(given(options).map((name) => [name, String(values[name])])),
      lists: Object.fromEntries(given(lists).map((name) => [name, [values[name]].flat().map(String)])),
      flags: new Set(given(flags)),
      words: positionals,
    };
  } catch (error) {
    // Node goes on with advice of its own.
    return printable(String(error instanceof Error ? error.message : error).split('. ', 1)[0] ?? '');
  }
}

function misused(message: string): KilnError {
  return new KilnError('REQUEST_INVALID', message);
}
