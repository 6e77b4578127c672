import type { Config } from '../config/config.ts';

/** What a command has of the process that runs it. */
export type CommandContext = {
  readonly config: Config;
  /** Of the user that runs it. */
  readonly uid: number;
  /** What its caller calls a running service with; null for none. */
  readonly token: string | null;
  /** Aborts when whoever runs it wants no more of it. */
  readonly signal: AbortSignal;
  /** A part of its result as it comes, such as a log. */
  readonly print: (text: string) => void;
  /** A line of its result, for programs. */
  readonly answer: (line: string) => void;
  /** A line for people, beside the result. */
  readonly say: (line: string) => void;
};

/** One command: its words, what it takes, what it does. */
export type Command = {
  /** Such as `token create`. */
  readonly name: string;
  /** What follows the name, as people write it. */
  readonly takes: string;
  readonly summary: string;
  /** Names of its options; each takes a text. */
  readonly options: readonly string[];
  /** Names of options that may be repeated. */
  readonly lists?: readonly string[];
  /** Names of options that take nothing. */
  readonly flags?: readonly string[];
  /** How many words follow its name. */
  readonly words: number;
  /** @throws KilnError PARAM_INVALID for an option that it does not take as it is, and others */
  run(given: CommandArguments, context: CommandContext): Promise<void>;
};

export type CommandArguments = {
  readonly options: Readonly<Record<string, string | undefined>>;
  readonly lists: Readonly<Record<string, readonly string[]>>;
  /** Those that were given. */
  readonly flags: ReadonlySet<string>;
  readonly words: readonly string[];
};
