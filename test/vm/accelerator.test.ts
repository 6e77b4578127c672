import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { chooseAccelerator, createKvmProbe, type KvmProblem } from '../../src/vm/accelerator.ts';
import { parseForwardedPort } from '../../src/vm/forwarded-port.ts';

const signal = new AbortController().signal;
const problem: KvmProblem = { cause: 'guests never start', cure: 'Use another machine.' };

const choices = [
  { setting: 'auto', trusted: true, works: true, name: 'kvm' },
  { setting: 'auto', trusted: false, works: true, name: 'kvm' },
  { setting: 'auto', trusted: true, works: false, name: 'tcg' },
  { setting: 'kvm', trusted: true, works: true, name: 'kvm' },
  { setting: 'tcg', trusted: false, works: true, name: 'tcg' },
  { setting: 'tcg', trusted: false, works: false, name: 'tcg' },
] as const;
for (const { setting, trusted, works, name } of choices) {
  test(`KILN_ACCEL=${setting}, ${trusted ? 'loopback alone' : 'reachable'}, KVM ${works ? 'works' : 'is broken'}: ${name}`, async () => {
    const probe = async (): Promise<KvmProblem | null> => (works ? null : problem);
    const choice = await chooseAccelerator({ setting, trusted, probe }, signal);
    assert.equal(choice.name, name);
    assert.equal(choice.note === null, name === 'kvm', 'emulation is never silent');
  });
}

for (const setting of ['auto', 'kvm'] as const) {
  test(`KILN_ACCEL=${setting} refuses to start where emulation is not acceptable, with cause and cure`, async () => {
    const trusted = setting === 'kvm';
    await assert.rejects(chooseAccelerator({ setting, trusted, probe: async () => problem }, signal), {
      code: 'VIRTUALIZATION_UNAVAILABLE',
      message: /guests never start\. Use another machine\./,
    });
  });
}

test('a missing device is named with what brings it', async () => {
  const probe = createKvmProbe({ binary: 'qemu-system-x86_64', kernel: '/nowhere', device: '/nowhere/kvm' });
  assert.match((await probe(signal))?.cure ?? '', /nested virtualization/);
});

test('a kernel that is none does not count as KVM that works', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'kiln-probe-'));
  const kernel = join(directory, 'kernel');
  await writeFile(kernel, 'no kernel');
  const probe = createKvmProbe({ binary: 'qemu-system-x86_64', kernel, device: kernel });
  assert.match((await probe(signal))?.cause ?? '', /QEMU gave up under KVM/);
  await rm(directory, { recursive: true });
});

test('the forwarded port is read from the table of QEMU 7.2', () => {
  const table =
    'Hub -1 (n0):\r\n  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\r\n' +
    '  TCP[HOST_FORWARD]   3       127.0.0.1 45953       10.0.2.15    22     0     0\r\n';
  assert.equal(parseForwardedPort(table), 45953);
  assert.throws(() => parseForwardedPort('nothing'), { code: 'INFRA' });
});
