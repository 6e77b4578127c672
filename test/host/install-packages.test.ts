import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { installPackages } from '../../src/host/install-packages.ts';

/** Takes dpkg's lock as dpkg does (F_SETLKW = 7 with a struct flock), says so, and keeps it for a while. */
const lockOwner = `
open my $lock, '>>', '/var/lib/dpkg/lock-frontend' or die $!;
my $flock = pack 's s x4 q q i x4', 1, 0, 0, 0, 0;
fcntl $lock, 7, $flock or die $!;
$| = 1;
print "locked\\n";
sleep 3;
`;

const signal = AbortSignal.timeout(100_000);

test('an installation waits while another program holds the lock of dpkg', async () => {
  const logDirectory = await mkdtemp(join(tmpdir(), 'kiln-packages-'));
  try {
    const owner = spawn('perl', ['-e', lockOwner], { stdio: ['ignore', 'pipe', 'inherit'] });
    const ended = once(owner, 'exit');
    await Promise.race([once(owner.stdout, 'data'), ended]);
    const lines: string[] = [];
    // Of every Debian, so nothing changes.
    await installPackages(['perl-base'], { logDirectory, progress: (line) => lines.push(line), signal });
    assert.deepEqual(await ended, [0, null]);
    assert.equal(lines.filter((line) => line.includes('waiting for its end')).length, 1);
  } finally {
    await rm(logDirectory, { recursive: true });
  }
});

test('a package that is not there is an error at once, in the words of apt', async () => {
  const logDirectory = await mkdtemp(join(tmpdir(), 'kiln-packages-'));
  try {
    const context = { logDirectory, progress: () => undefined, signal };
    await assert.rejects(installPackages(['no-such-package'], context), {
      code: 'INFRA',
      message: /Unable to locate package no-such-package/,
    });
  } finally {
    await rm(logDirectory, { recursive: true });
  }
});
