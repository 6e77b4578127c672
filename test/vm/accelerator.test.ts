import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { vmTools } from '../../src/host/host-tools.ts';
import {
  chooseAccelerator,
  createKvmProbe,
  type KvmProbe,
  type KvmProblem,
} from '../../src/vm/accelerator.ts';
import { findQemu } from '../../src/vm/find-qemu.ts';
import { parseForwardedPort } from '../../src/vm/forwarded-port.ts';
import { createHangMemory } from '../../src/vm/hang-memory.ts';
import { findHostKey } from '../../src/vm/make-template.ts';
import { createProcessLauncher } from '../../src/vm/process-launcher.ts';
import { kvmProcessors, type Processor } from '../../src/vm/qemu-arguments.ts';
import { noImage } from '../images/no-image.ts';
import { installTools } from '../install-tools.ts';

await installTools(vmTools);
const signal = new AbortController().signal;
const qemu = await findQemu(process.env['PATH'] ?? '', signal);
const launcher = createProcessLauncher(qemu);
const launcherOf = (binary: string) => createProcessLauncher({ ...qemu, binary });
const [host] = kvmProcessors;
const problem: KvmProblem = { cause: 'guests never start', cure: 'Use another machine.' };

async function problemOf(probe: KvmProbe, part: keyof KvmProblem): Promise<string> {
  const found = await probe(signal);
  return part in found ? (found as KvmProblem)[part] : 'KVM works';
}

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
    const probe = async (): Promise<Processor | KvmProblem> => (works ? host : problem);
    const choice = await chooseAccelerator({ setting, trusted, probe }, signal);
    assert.equal(choice.processor.accelerator, name);
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
  const probe = createKvmProbe({ launcher, image: noImage('none'), device: '/nowhere/kvm' });
  assert.match(await problemOf(probe, 'cure'), /nested virtualization/);
});

test('a kernel that is none does not count as KVM that works', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'kiln-probe-'));
  const kernel = join(directory, 'kernel');
  await writeFile(kernel, 'no kernel');
  const probe = createKvmProbe({ launcher, image: { ...noImage('none'), kernel }, device: kernel });
  assert.match(await problemOf(probe, 'cause'), /QEMU gave up under KVM/);
  await rm(directory, { recursive: true });
});

/** A shell script in QEMU's place: this machine has no KVM that works. It starts, or not, by the model it is given. */
const simulations = [
  {
    behaves:
      "case $* in *arch-capabilities=off*) echo 'Linux version 6';; *) echo 'failed to set MSR 0x10a' >&2; exit 134;; esac",
    found: kvmProcessors.at(-1) ?? kvmProcessors[0],
  },
  { behaves: "echo 'Linux version 6'; exec sleep 60", found: kvmProcessors[0] },
] as const;
for (const { behaves, found } of simulations) {
  test(`guests get the processor ${found.model} where KVM takes that (simulated QEMU)`, async () => {
    const directory = await mkdtemp(join(tmpdir(), 'kiln-probe-'));
    const binary = join(directory, 'qemu');
    await writeFile(binary, `#!/bin/sh\n${behaves}\n`, { mode: 0o755 });
    assert.deepEqual(
      await createKvmProbe({ launcher: launcherOf(binary), image: noImage('none'), device: binary })(signal),
      found,
    );
    await rm(directory, { recursive: true });
  });
}

test('a guest that never starts is not tried with other processors, nor again until something changes (simulated QEMU)', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'kiln-probe-'));
  const binary = join(directory, 'qemu');
  const runs = join(directory, 'runs');
  await writeFile(binary, `#!/bin/sh\necho run >>${runs}\nexec sleep 60\n`, { mode: 0o755 });
  const device = join(directory, 'kvm');
  await writeFile(device, '');
  const file = join(directory, 'kvm-hangs');
  const start = (change: { imageDigest?: string; version?: string } = {}): Promise<string> => {
    const { imageDigest = 'sha256:1', version = '8.2' } = change;
    const hanging = { ...qemu, binary, version };
    const memory = createHangMemory({ file, imageDigest, qemu: hanging });
    return problemOf(
      createKvmProbe({ launcher: launcherOf(binary), image: noImage('none'), device, memory }),
      'cure',
    );
  };
  assert.doesNotMatch(await start(), /An earlier start found this/);
  assert.equal(await readFile(runs, 'utf8'), 'run\n');
  const remembered = await start();
  assert.ok(remembered.endsWith(`remove ${file} to have it tried again.`), remembered);
  assert.equal(await readFile(runs, 'utf8'), 'run\n', 'it was not tried a second time');
  // From here on it answers at once, and so is tried again wherever it may have changed.
  await writeFile(binary, "#!/bin/sh\necho 'Linux version 6'; exec sleep 60\n");
  for (const change of [{ imageDigest: 'sha256:2' }, { version: '9.0' }])
    assert.equal(await start(change), 'KVM works');
  assert.notEqual(await start(), 'KVM works', 'the answer is still kept');
  await rm(device);
  assert.match(
    await start(),
    /nested virtualization \(|Turn on virtualization/,
    'the device is looked at each time',
  );
  await writeFile(device, '');
  assert.equal(await start(), 'KVM works', 'a device that came anew is tried');
  await rm(directory, { recursive: true });
});

for (const behaves of ["echo 'Linux version 6'; exec sleep 60", 'exit 1']) {
  test(`what KVM answers at once is not remembered: ${behaves} (simulated QEMU)`, async () => {
    const directory = await mkdtemp(join(tmpdir(), 'kiln-probe-'));
    const [binary, file] = [join(directory, 'qemu'), join(directory, 'kvm-hangs')];
    await writeFile(binary, `#!/bin/sh\n${behaves}\n`, { mode: 0o755 });
    const memory = createHangMemory({ file, imageDigest: 'sha256:1', qemu });
    await createKvmProbe({ launcher: launcherOf(binary), image: noImage('none'), device: binary, memory })(
      signal,
    );
    await assert.rejects(readFile(file), { code: 'ENOENT' });
    await rm(directory, { recursive: true });
  });
}

test('the host key is taken from a whole line of the console, never from one still being written', () => {
  const line =
    'kiln-host-key ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHhAacE+GxFJKJaYyP8GzBKMIiuBur8gkb9gJs4OHqIH\r\n';
  const key = line.trim().slice('kiln-host-key '.length);
  const booting = `[    0.000000] Linux version 6\r\n`;
  for (let end = 0; end < line.length; end += 1)
    assert.equal(findHostKey(booting + line.slice(0, end)), null);
  assert.equal(findHostKey(`${booting}${line}login: `), key);
});

test('the forwarded port is read from the table of QEMU 7.2', () => {
  const table =
    'Hub -1 (n0):\r\n  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\r\n' +
    '  TCP[HOST_FORWARD]   3       127.0.0.1 45953       10.0.2.15    22     0     0\r\n';
  assert.equal(parseForwardedPort(table), 45953);
  assert.throws(() => parseForwardedPort('nothing'), { code: 'INFRA' });
});
