import { run, type TestsStream } from 'node:test';
import { inspect } from 'node:util';

export type FileReport = {
  readonly passed: number;
  readonly failed: number;
  readonly ms: number;
  /** Each failure in full, then what the file printed; empty when nothing failed. */
  readonly failures: string;
};

type TestEvent = TestsStream extends AsyncIterable<infer Event> ? Event : never;
type EndedTest = { readonly name: string; readonly details: { readonly duration_ms: number } };
type FailEvent = Extract<TestEvent, { type: 'test:fail' }>['data'];

/**
 * Runs one test file in a process of its own, which is killed after `timeoutMs`. A test that was skipped or is
 * still to be done counts as failed, and so does a file without a test: none of them shows anything.
 */
export async function runTestFile(
  file: string,
  options: {
    timeoutMs: number;
    signal: AbortSignal;
    /** Called at the end of each test, with one line for people. */
    onTest?: (line: string) => void;
  },
): Promise<FileReport> {
  const started = performance.now();
  const deadline = AbortSignal.timeout(options.timeoutMs);
  const events = run({ files: [file], signal: AbortSignal.any([options.signal, deadline]) });
  const failures: string[] = [];
  let output = '';
  let passed = 0;
  let failed = 0;
  for await (const event of events) {
    switch (event.type) {
      case 'test:stdout':
      case 'test:stderr':
        output += event.data.message;
        break;
      case 'test:pass':
        // Node lets a file without a test pass as a test of its own name.
        if (event.data.name === file) failures.push(`no test in ${file}\n`);
        else options.onTest?.(describeTest('ok', event.data));
        break;
      case 'test:fail':
        if (!failedInside(event.data)) {
          failures.push(describeFailure(event.data));
          options.onTest?.(describeTest('FAIL', event.data));
        }
        break;
      case 'test:summary': {
        const { counts, success } = event.data;
        passed = counts.passed;
        failed = counts.failed + counts.cancelled + counts.skipped + counts.todo || (success ? 0 : 1);
        break;
      }
    }
  }
  if (deadline.aborted) failures.push(`${file} was still running after ${seconds(options.timeoutMs)}\n`);
  failed ||= failures.length;
  return {
    passed,
    failed,
    ms: performance.now() - started,
    failures: failed === 0 ? '' : failures.join('\n') + output,
  };
}

export function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}

/** A suite or file that fails only because a test in it did has nothing to add. */
function failedInside({ details }: FailEvent): boolean {
  return 'failureType' in details.error && details.error.failureType === 'subtestsFailed';
}

function describeTest(how: string, { name, details }: EndedTest): string {
  return `${how}  ${name}  ${seconds(details.duration_ms)}`;
}

function describeFailure({ name, line, details }: FailEvent): string {
  const place = line === undefined ? '' : ` (line ${line})`;
  return `✖ ${name}${place}\n${inspect(details.error.cause ?? details.error, { depth: 8 })}\n`;
}
