import { relative } from 'node:path';
import { runTestFile, seconds } from './run-test-file.ts';

export type Group = {
  readonly title: string;
  readonly files: readonly string[];
  /** Files at once. */
  readonly concurrency: number;
  /** For each file. */
  readonly timeoutMs: number;
};

/** Runs test files, says of each how it went, and counts. SIGINT and SIGTERM end it. */
export class TestRun {
  readonly #root: string;
  readonly #interrupted = new AbortController();
  readonly #times: { readonly name: string; readonly ms: number }[] = [];
  #passed = 0;
  #failed = 0;

  constructor(root: string) {
    this.#root = root;
    for (const signal of ['SIGINT', 'SIGTERM'] as const)
      process.once(signal, () => this.#interrupted.abort());
  }

  /** Aborted where the run was interrupted. */
  get signal(): AbortSignal {
    return this.#interrupted.signal;
  }

  /** Counts what is no test file as one test. */
  count(ok: boolean): void {
    if (ok) this.#passed += 1;
    else this.#failed += 1;
  }

  /** @param onTest Called at the end of each test, with one line for people. */
  async runGroup(group: Group, onTest?: (line: string) => void): Promise<void> {
    if (group.files.length === 0) return;
    console.log(`\n── ${group.files.length} ${group.title}`);
    const waiting = [...group.files];
    const work = async (): Promise<void> => {
      for (let file = waiting.shift(); file && !this.signal.aborted; file = waiting.shift()) {
        await this.#runFile(file, group.timeoutMs, onTest);
      }
    };
    await Promise.all(Array.from({ length: group.concurrency }, work));
  }

  async #runFile(file: string, timeoutMs: number, onTest?: (line: string) => void): Promise<void> {
    const name = relative(this.#root, file);
    const { signal } = this;
    const report = await runTestFile(file, { timeoutMs, signal, ...(onTest && { onTest }) });
    this.#passed += report.passed;
    this.#failed += report.failed;
    this.#times.push({ name, ms: report.ms });
    const counts = `${report.passed} passed${report.failed > 0 ? `, ${report.failed} failed` : ''}`;
    console.log(`${report.failed > 0 ? 'FAIL' : 'ok  '}  ${name}  ${counts}  ${seconds(report.ms)}`);
    if (report.failed > 0) console.log(`\n${report.failures}`);
  }

  /** Prints the totals, `N passed, N failed` last, and sets the exit status: 1 if any failed or no test ran. */
  finish(): void {
    const slowest = this.#times.sort((a, b) => b.ms - a.ms).slice(0, 5);
    console.log(`\nslowest: ${slowest.map(({ name, ms }) => `${name} ${seconds(ms)}`).join(', ') || 'none'}`);
    if (this.signal.aborted) console.log('interrupted');
    console.log(`${this.#passed} passed, ${this.#failed} failed`);
    const ranAll = this.#times.length > 0 && !this.signal.aborted;
    process.exitCode = this.#failed === 0 && ranAll ? 0 : 1;
  }
}
