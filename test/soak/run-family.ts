import assert from 'node:assert/strict';
import { test } from 'node:test';
import { build, type TestService } from '../e2e/harness.ts';

/** What is tried in a build: lines of shell, each of which must succeed; and what they are to print beside. */
export type Program = { readonly name: string; readonly lines: readonly string[] };

const stepSeconds = 600;

/**
 * Runs programs in one build, each in a step of its own, and tells of each whether it went well. One that fails does not keep
 * the others from being tried.
 * @param files What the steps find in `/soak`, their working folder.
 */
export function tryPrograms(
  {
    service,
    image,
    env = {},
    files = {},
  }: {
    readonly service: TestService;
    readonly image: string;
    readonly env?: Readonly<Record<string, string>>;
    readonly files?: Readonly<Record<string, string>>;
  },
  programs: readonly Program[],
): void {
  const scripts = programs.map(({ lines }, at) => [`step-${at}.sh`, `${lines.join('\n')}\n`] as const);
  const steps = scripts.map(
    ([script], at) =>
      `RUN if timeout ${stepSeconds} sh -eux ${script} 2>&1; then echo "step ${at} went well"; else echo "step ${at} failed"; fi`,
  );
  const settings = Object.entries(env).map(([name, value]) => `ENV ${name}=${JSON.stringify(value)}`);
  const Dockerfile = [`FROM ${image}`, ...settings, 'WORKDIR /soak', 'COPY . /soak', ...steps].join('\n');
  const built = Promise.withResolvers<string>();
  built.promise.catch(() => undefined);

  test(`${image}: the build ends well`, async () => {
    try {
      const { exit, body } = await build(service, { ...files, ...Object.fromEntries(scripts), Dockerfile });
      built.resolve(body);
      assert.equal(exit, 0, body);
    } catch (error) {
      built.reject(error);
      throw error;
    }
  });
  for (const [at, { name }] of programs.entries()) {
    test(`${image}: ${name}`, async () => {
      const log = await built.promise;
      assert.match(log, new RegExp(`step ${at} went well\\n`), stepLog(log, at));
    });
  }
}

/** The lines of one step. */
function stepLog(log: string, at: number): string {
  const [, number = ''] = new RegExp(`^#(\\d+) .*step-${at}\\.sh`, 'm').exec(log) ?? [];
  return log
    .split('\n')
    .filter((line) => line.startsWith(`#${number} `) || line.startsWith('kiln:'))
    .join('\n');
}
