import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { findProgram } from '../../src/lib/process/find-program.ts';
import type { QemuProcess } from '../../src/vm/launcher.ts';
import { createProcessLauncher } from '../../src/vm/process-launcher.ts';
import { noImage } from '../images/no-image.ts';

/** Shell scripts in QEMU's place: what one sends that its guest has taken over, no honest one does. */
const { signal } = new AbortController();
const greeting = `echo '{"QMP": {"version": {}, "capabilities": []}}'; read -r command; echo '{"return": {}}'`;
let directory: string;

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'kiln-qmp-'));
});
after(() => rm(directory, { recursive: true }));

async function startSimulated(behaviour: string): Promise<QemuProcess & AsyncDisposable> {
  const binary = join(directory, 'qemu');
  await writeFile(binary, `#!/bin/sh\n${greeting}\n${behaviour}\n`, { mode: 0o755 });
  const setpriv = (await findProgram('setpriv', process.env['PATH'] ?? '')) ?? '';
  const qemu = { binary, img: '/bin/false', setpriv, version: 'simulated', major: 8, minor: 2 };
  const machine = { args: [], accelerator: 'tcg', image: noImage('none') } as const;
  const request = { ...machine, user: null, directory, reads: [] };
  const started = await createProcessLauncher(qemu).start(request, signal);
  await started.qmp.negotiate(signal);
  return { ...started, [Symbol.asyncDispose]: async () => void (await started.kill()) };
}

test('a line without end ends the monitor and its process (simulated QEMU)', async () => {
  await using qemu = await startSimulated(
    'read -r command; /usr/bin/tr "\\0" x </dev/zero 2>/dev/null; exec /bin/sleep 1000',
  );
  await assert.rejects(qemu.qmp.execute('query-status', {}, signal), {
    code: 'INFRA',
    message: /went away/,
  });
  assert.match(
    await qemu.exited,
    /^was ended by SIGKILL, as its monitor could not be read: A line is longer than 1048576 bytes\.$/,
  );
  await assert.rejects(qemu.qmp.execute('query-status', {}, signal), /went away/);
});

test('a long answer, events and lines that are no answer do no harm (simulated QEMU)', async () => {
  const long = `'{"return": "'; /usr/bin/head -c 1000000 /dev/zero | /usr/bin/tr '\\0' x; echo '"}'`;
  await using qemu = await startSimulated(
    `read -r command; echo '{"event": "STOP"}'; echo nonsense; printf %s ${long}; exec /bin/sleep 1000`,
  );
  assert.equal(String(await qemu.qmp.execute('query-status', {}, signal)).length, 1_000_000);
  await qemu.kill();
  assert.equal(await qemu.exited, 'was ended by SIGKILL');
});

test('the end of QEMU ends what waits for its answer, and nothing more is said of it (simulated QEMU)', async () => {
  await using qemu = await startSimulated('read -r command; echo last words >&2; exit 3');
  await assert.rejects(qemu.qmp.execute('query-status', {}, signal), /went away/);
  assert.equal(await qemu.exited, 'exited with 3: last words');
});
