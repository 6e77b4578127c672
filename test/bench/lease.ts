import { randomBytes } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseConfig } from '../../src/config/config.ts';
import { prepareHost } from '../../src/host-setup.ts';
import type { VmImage } from '../../src/model/vm-image.ts';
import { capture } from '../../src/ssh/capture.ts';
import { connectSsh, type SshConnection } from '../../src/ssh/connection.ts';
import { ensureKeyPair } from '../../src/ssh/keys.ts';
import { findQemu } from '../../src/vm/find-qemu.ts';
import { makeTemplate } from '../../src/vm/make-template.ts';
import { createProcessLauncher } from '../../src/vm/process-launcher.ts';
import { createProcessUsers } from '../../src/vm/process-users.ts';
import { emulatedProcessor, type Processor } from '../../src/vm/qemu-arguments.ts';
import { templateFiles } from '../../src/vm/template.ts';
import type { SshEndpoint, VmSetup } from '../../src/vm/vm.ts';
import { testData } from '../e2e/harness.ts';
import { type Bench, median, waitUntilWarm } from './measure.ts';

const rounds = 5;
const signal = new AbortController().signal;

/** From asking for a VM to the end of the first command in it: a warm clone against a boot of the same image. */
export const benchLease: Bench = async (service) => {
  const leases: number[] = [];
  let processor = emulatedProcessor;
  for (let round = 0; round < rounds; round += 1) {
    await waitUntilWarm(service);
    const started = performance.now();
    await using lease = await service.pool.acquire(signal);
    await capture(lease.vm.connection, 'true', { signal });
    leases.push(performance.now() - started);
    processor = lease.vm.processor;
  }
  await waitUntilWarm(service);
  const [kiln, baseline] = [median(leases), await coldBootMs(processor)];
  const ratio = baseline / kiln;
  return [
    {
      what: 'lease of a pristine VM : cold boot',
      kiln,
      baseline,
      unit: 'ms',
      ratio,
      goal: ['ratio', '≥', 20],
    },
  ];
};

/** Until the end of the first command over ssh; buildkitd is started by its socket, so nothing else is waited for. */
async function coldBootMs(processor: Processor): Promise<number> {
  const { privateKey, publicKey } = await ensureKeyPair(testData);
  const directory = join(testData, 'bench');
  await rm(directory, { recursive: true, force: true });
  await mkdir(directory, { mode: 0o711 });
  const setup: VmSetup = {
    installation: randomBytes(8).toString('hex'),
    launcher: createProcessLauncher(await findQemu(process.env['PATH'] ?? '', signal)),
    ...{ processor, cpus: 2, memoryMiB: 2048, diskBytes: 20 * 1024 ** 3, users: createProcessUsers(true) },
    ...{ vmsDirectory: directory, templatesDirectory: directory },
  };
  let bootMs = Number.NaN;
  const image = await findImage();
  const started = performance.now();
  const prepare = async (endpoint: SshEndpoint): Promise<void> => {
    await using connection = await connectWhenUp({ ...endpoint, privateKey });
    await capture(connection, 'true', { signal });
    bootMs = performance.now() - started;
  };
  try {
    const request = { setup, image, authorizedKey: publicKey, progress: () => undefined };
    const preparation = { fingerprint: 'bench', prepare };
    await makeTemplate({ ...request, preparation }, templateFiles(join(directory, 'template')), signal);
  } finally {
    await rm(directory, { recursive: true });
  }
  return bootMs;
}

async function findImage(): Promise<VmImage> {
  const path = process.env['PATH'] ?? '';
  const {
    made: [image],
  } = await prepareHost(parseConfig({}, true), {
    ...{ path, signal, sealsDirectory: null },
    progress: () => undefined,
  });
  return image;
}

async function connectWhenUp(target: Parameters<typeof connectSsh>[0]): Promise<SshConnection> {
  for (;;) {
    try {
      return await connectSsh(target, signal);
    } catch {
      await sleep(50);
    }
  }
}
