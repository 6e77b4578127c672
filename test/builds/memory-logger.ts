import assert from 'node:assert/strict';
import type { Logger } from '../../src/lib/logger.ts';
import type { BuildState } from '../../src/model/build.ts';
import { KilnError } from '../../src/model/error.ts';

type Said = { level: keyof Logger; message: string; fields: object };

/** A logger that keeps what the service says of itself. */
export function createMemoryLogger(): Logger & { readonly said: readonly Said[] } {
  const said: Said[] = [];
  const say = (level: keyof Logger) => (fields: object, message: string) =>
    void said.push({ level, message, fields });
  return { said, info: say('info'), warn: say('warn'), error: say('error') };
}

/** Endings that are our fault, not the build's. */
const ourCodes: readonly unknown[] = ['INFRA', 'ARTIFACT_INVALID', 'INTERNAL'];

type Ended = {
  id: string;
  state: BuildState;
  code?: string | null;
  vms: number;
  lostHistory?: boolean;
  paused?: boolean;
};

/** Each failure that is ours once, with its cause and the build's id; each attempt that was no good; and how the build ended. */
export function assertSaid(
  said: readonly Said[],
  { id, state, code, vms, lostHistory = false, paused = false }: Ended,
): void {
  const failures = ourCodes.includes(code) ? ['a build failed by our fault'] : [];
  const warned = lostHistory ? ['the history of a build could not be read to its end'] : [];
  const retries = Array.from(
    { length: Math.max(0, vms - 1) },
    () => 'a build lost its VM and is run once more',
  );
  assert.deepEqual(
    said.map(({ message }) => message),
    [...retries, ...warned, ...failures, paused ? 'a build goes on after the next start' : 'build ended'],
  );
  for (const { level, fields } of said) {
    assert.ok('build' in fields && fields.build === id);
    if (level === 'info') assert.ok('state' in fields && fields.state === state);
    else assert.ok('error' in fields && fields.error instanceof (lostHistory ? Error : KilnError));
  }
}
