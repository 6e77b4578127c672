import assert from 'node:assert/strict';
import { capture } from '../../src/ssh/capture.ts';
import type { SshConnection } from '../../src/ssh/connection.ts';

const { signal } = new AbortController();

/** What root of a VM is asked: its random state, machine-id, what a build before it left, and the time. */
const askVm = [
  'od -An -N16 -tx1 /dev/urandom | tr -d " "',
  'cat /proc/sys/kernel/random/uuid',
  'cat /etc/machine-id',
  'ls /var/lib/buildkit/marker 2>/dev/null || echo none',
  'touch /var/lib/buildkit/marker',
  'date +%s.%N',
].join('\n');

/** A VM is pristine and knows the time. @returns the words that no other VM may say */
export async function lookIntoVm(connection: SshConnection): Promise<string[]> {
  const before = Date.now() / 1000;
  const text = await capture(connection, askVm, { signal });
  const time = Number(text.trim().split('\n').at(-1));
  // However long the answer took.
  const off = Math.max(before - time, time - Date.now() / 1000);
  assert.ok(off < 2, `the clock of the guest is off by ${off} s`);
  const [random = '', uuid = '', machineId = '', marker] = text.split('\n');
  assert.match(random, /^[0-9a-f]{32}$/);
  assert.match(machineId, /^[0-9a-f]{32}$/);
  assert.equal(marker, 'none');
  return [random, uuid, machineId];
}
