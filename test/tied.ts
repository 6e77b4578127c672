export type Tie = {
  /** What it gets: SIGTERM is for what has others to end. */
  readonly signal?: 'KILL' | 'TERM';
  /** Further words for setpriv(1), as who runs it: another user's tie must be made with the change of user, which undoes any before. */
  readonly privileges?: readonly string[];
};

/**
 * The same program for `spawn`, which the kernel ends once this process has ended, however that ended: a test that is
 * interrupted, or takes too long, leaves nothing running.
 */
export function tied(
  command: string,
  args: readonly string[],
  { signal = 'KILL', privileges = [] }: Tie = {},
): [command: string, args: string[]] {
  return ['setpriv', [...privileges, `--pdeathsig=${signal}`, '--', command, ...args]];
}
