import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { findQemu } from '../../src/vm/find-qemu.ts';

const { signal } = new AbortController();

const installations: Record<string, [qemu: string | null, told: RegExp]> = {
  'there is none': [null, /needed, found none\. On Debian/],
  'it is too old': [
    'echo QEMU emulator version 6.2.0',
    /needed, found QEMU emulator version 6\.2\.0\. On Debian/,
  ],
  'it does not run': [
    'echo libslirp.so.0: cannot open shared object file >&2; exit 127',
    /needed, found \S+\/qemu-system-x86_64 exited with 127: libslirp\.so\.0: cannot open shared object file\. On/,
  ],
  'it says nothing': ['exit 0', /needed, found \S+\/qemu-system-x86_64, which says no version\. On Debian/],
};
for (const [what, [program, message]] of Object.entries(installations)) {
  test(`QEMU that cannot be used is told of as what it is: ${what} (simulated QEMU)`, async () => {
    const path = await mkdtemp(join(tmpdir(), 'kiln-qemu-'));
    const programs = { 'qemu-img': 'exit 0', setpriv: 'exit 0', 'qemu-system-x86_64': program };
    for (const [name, text] of Object.entries(programs))
      if (text !== null) await writeFile(join(path, name), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
    await assert.rejects(findQemu(path, signal), { code: 'REQUIREMENT_MISSING', message });
    await rm(path, { recursive: true });
  });
}
