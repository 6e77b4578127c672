import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { test } from 'node:test';

/** Each guard of `npm run check` that this project wrote the rules of, run on a project that breaks every rule. */
const root = join(import.meta.dirname, '../..');

test('dependency-cruiser reports each forbidden import, and no other', async () => {
  const forbidden = {
    'src/lib/a.ts': ["import '../model/a.ts';", 'row-0-imports-only-down'],
    'src/vm/up.ts': ["import '../pool/a.ts';", 'row-3-imports-only-down'],
    'src/catalog/up.ts': ["import '../images/ok.ts';", 'row-3-imports-only-down'],
    'src/catalog/a.ts': ["import '../vm/b.ts';", 'catalog-leaves-its-siblings-alone'],
    'src/builds/up.ts': ["import '../http/a.ts';", 'row-7-imports-only-down'],
    'src/images/up.ts': ["import '../service.ts';", 'row-8-imports-only-down'],
    'src/operations/up.ts': ["import '../http/a.ts';", 'row-9-imports-only-down'],
    'src/vm/a.ts': ["import '../egress/a.ts';", 'vm-leaves-its-siblings-alone'],
    'src/tokens/a.ts': ["import '../store/a.ts';", 'tokens-leaves-its-siblings-alone'],
    'src/registry/a.ts': ["import '../store/a.ts';", 'registry-leaves-its-siblings-alone'],
    'src/evidence/a.ts': ["import '../catalog/b.ts';", 'evidence-leaves-its-siblings-alone'],
    'src/config/up.ts': ["import '../cli/a.ts';", 'row-11-imports-only-down'],
    'src/driver.ts': ["import './service.ts';", 'row-14-imports-only-down'],
    'src/buildkit/a.ts': ["import '../pool/a.ts';", 'buildkit-leaves-its-siblings-alone'],
    'src/grpc/a.ts': ["import '../http/a.ts';", 'grpc-leaves-its-siblings-alone'],
    'src/artifacts/a.ts': ["import './b.ts';", 'no-cycles'],
    'src/images/utils.ts': ["import '../utils/a.ts';", 'no-unknown-folder'],
    'src/context/a.ts': ["import './missing.ts';", 'no-unresolvable'],
    'src/logs/a.ts': ["import '../../test/a.ts';", 'src-stands-alone'],
    'src/pool/ssh.ts': ["import 'ssh2';", 'ssh2-has-one-place'],
    'src/pool/docker.ts': ["import 'dockerode';", 'dockerode-has-one-place'],
    'src/images/run.ts': ["import 'execa';", 'execa-has-one-place'],
    'src/host/spawn.ts': ["import 'node:child_process';", 'processes-have-one-door'],
    'src/grpc/upload.ts': ["import 'multer';", 'multer-has-one-place'],
    'src/observe/a.ts': ["import '../vm/b.ts';", 'observe-leaves-its-siblings-alone'],
    'src/builds/traces.ts': ["import '@opentelemetry/api';", '@opentelemetry/[a-z-]+-has-one-place'],
    'src/builds/metrics.ts': ["import '@prometheus-io/client';", '@prometheus-io/client-has-one-place'],
    'src/builds/sql.ts': ["import type {} from 'better-sqlite3';", 'better-sqlite3-has-one-place'],
  } as const;
  const allowed = {
    'src/main.ts': "import './service.ts';",
    'src/service.ts': "import './http/a.ts'; import './grpc/allowed.ts';",
    // A cycle is reported once, where it is entered.
    'src/artifacts/b.ts': "import './a.ts';",
    'src/utils/a.ts': 'export {};',
    'src/grpc/allowed.ts': "import '../builds/a.ts'; import '../model/a.ts';",
    'src/builds/a.ts': "import '../pool/a.ts'; import '../vm/a.ts'; import '../lib/b.ts';",
    'src/model/a.ts': "import '../lib/b.ts';",
    'src/cli/a.ts': "import '../config/a.ts'; import '../model/a.ts';",
    'src/config/a.ts': 'export {};',
    'src/ssh/a.ts': "import 'ssh2';",
    'src/store/a.ts': "import 'better-sqlite3';",
    'src/observe/metrics.ts': "import '@prometheus-io/client';",
    'src/lib/b.ts': 'export {};',
    'src/lib/process/a.ts': "import 'execa'; import 'node:child_process';",
    'src/http/a.ts': "import 'multer';",
    'src/pool/a.ts': "import '../vm/a.ts';",
    'src/egress/a.ts': 'export {};',
    'src/vm/b.ts': 'export {};',
    'src/images/ok.ts': "import '../catalog/b.ts';",
    'src/catalog/b.ts': "import '../model/a.ts';",
    'test/a.ts': 'export {};',
  };
  const libraries = [
    'ssh2',
    'dockerode',
    'execa',
    'multer',
    'better-sqlite3',
    '@prometheus-io/client',
    '@opentelemetry/api',
  ].map((name) => [`node_modules/${name}/index.js`, ''] as const);
  const files = {
    ...Object.fromEntries(Object.entries(forbidden).map(([file, [text]]) => [file, text])),
    ...allowed,
    ...Object.fromEntries(libraries),
  };

  const { status, output } = await runGuard(files, 'depcruise', [
    ...['--config', join(root, '.dependency-cruiser.mjs'), '--output-type', 'err', 'src'],
  ]);

  const found = Array.from(output.matchAll(/error (\S+): (\S+)/g), ([, rule, file]) => `${file} ${rule}`);
  const expected = Object.entries(forbidden).map(([file, [, rule]]) => `${file} ${rule}`);
  assert.deepEqual(found.sort(), expected.sort());
  assert.notEqual(status, 0);
});

test('oxlint reports floating promises, any, the environment, long files and long parameter lists', async () => {
  const files = {
    '.oxlintrc.json': await readFile(join(root, '.oxlintrc.json'), 'utf8'),
    'tsconfig.json': '{"compilerOptions": {"strict": true, "module": "nodenext", "target": "es2024"}}',
    'src/floating.ts': 'export function go(): void { Promise.resolve(1); }',
    'src/misused.ts': 'export const all = [1].filter(async (n) => n > (await Promise.resolve(1)));',
    'src/thenable.ts': 'export async function go(): Promise<number> { await 1; return 1; }',
    'src/any.ts': 'export const value = (input: any): unknown => input;',
    'src/env.ts': 'export const home = process.env.HOME;',
    'src/import-env.ts': "import { env } from 'node:process';\nexport const home = env;",
    'src/long.ts': `export const one = 1;\n${'// line\n'.repeat(300)}`,
    'src/wide.ts': 'export const f = (a: 1, b: 1, c: 1, d: 1, e: 1): number => a + b + c + d + e;',
    'src/console.ts': "console.log('hello');",
    'src/main.ts': 'export const home = process.env.HOME;',
  };
  const { status, output } = await runGuard(files, 'oxlint', ['--type-aware', '--format', 'json']);

  const { diagnostics } = JSON.parse(output) as { diagnostics: { code: string; filename: string }[] };
  const found = diagnostics.map(({ code, filename }) => `${filename} ${code}`);
  assert.deepEqual(found.sort(), [
    'src/any.ts typescript(no-explicit-any)',
    'src/console.ts eslint(no-console)',
    'src/env.ts node(no-process-env)',
    'src/floating.ts typescript(no-floating-promises)',
    'src/import-env.ts eslint(no-restricted-imports)',
    'src/long.ts eslint(max-lines)',
    'src/misused.ts typescript(no-misused-promises)',
    'src/thenable.ts typescript(await-thenable)',
    'src/wide.ts eslint(max-params)',
  ]);
  assert.notEqual(status, 0);
});

/** Runs a tool in a temporary project of `files`; resolves with its exit status and what it printed. */
async function runGuard(
  files: Record<string, string>,
  tool: string,
  args: readonly string[],
): Promise<{ status: number | null; output: string }> {
  const directory = await mkdtemp(join(tmpdir(), 'kiln-guard-'));
  try {
    for (const [file, text] of Object.entries(files)) {
      await mkdir(dirname(join(directory, file)), { recursive: true });
      await writeFile(join(directory, file), text);
    }
    const child = spawn(join(root, 'node_modules/.bin', tool), args, {
      cwd: directory,
      env: { ...process.env, PATH: [dirname(process.execPath), process.env['PATH']].join(delimiter) },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
    const status = await new Promise<number | null>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', resolve);
    });
    return { status, output };
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
