import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { connect } from 'node:net';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { parseConfig } from '../../src/config/config.ts';
import { prepareDqdImage, prepareHost } from '../../src/host-setup.ts';
import { capture } from '../../src/ssh/capture.ts';
import { connectSsh, type SshConnection } from '../../src/ssh/connection.ts';
import { generateKeyPair } from '../../src/ssh/keys.ts';
import { findHostKey } from '../../src/vm/make-template.ts';
import { startDockerEngine, type TestEngine } from '../docker-engine.ts';

/** A dqd image as people run it by hand, where nothing of kiln is: two VMs, as it comes and with its network opened. */
const run = promisify(execFile);
const signal = AbortSignal.timeout(900_000);
const bridge = 'kiln-dqd0';
const keys = generateKeyPair();
const publicKey = `ssh-ed25519 ${keys.publicKey} somebody@home`;
const hardened = ['--read-only', '--cap-drop=ALL', '--security-opt=no-new-privileges', '--pids-limit=100'];
let engine: TestEngine;
let closed: SshConnection;
let open: SshConnection;

before(
  async () => {
    const config = parseConfig({}, true);
    const options = {
      path: process.env['PATH'] ?? '',
      progress: (line: string) => console.log(line),
      signal,
    };
    const {
      made: [image],
    } = await prepareHost(config, { ...options, sealsDirectory: null });
    const { reference, tar } = await prepareDqdImage(config, options, image);
    await removeBridge();
    await run('sh', [
      '-c',
      `ip link add ${bridge} type bridge && ip addr add 172.31.249.1/24 dev ${bridge} && ip link set ${bridge} up`,
    ]);
    engine = await startDockerEngine({ bridge });
    await engine.docker('load', '-q', '-i', tar);
    const start = async (
      name: string,
      variables: Record<string, string>,
      ...args: string[]
    ): Promise<string> => {
      const env = Object.entries({ SSH_KEY: publicKey, ...variables });
      const words = env.flatMap(([variable, value]) => ['-e', `${variable}=${value}`]);
      await engine.docker(
        'run',
        '-dit',
        `--name=${name}`,
        '-p',
        '127.0.0.1::22',
        ...hardened,
        ...words,
        reference,
        ...args,
      );
      return engine.docker('inspect', '--format={{.NetworkSettings.IPAddress}}', name);
    };
    const dual = { QEMU_DUAL_NET: '1' };
    const listening = { ...dual, QEMU_SOCKET_LISTEN: ':1234', QEMU_SOCKET_IP: '10.77.0.1' };
    const address = await start('closed', listening, '-name', 'appended');
    await start('open', {
      ...{ ...dual, QEMU_SOCKET_CONNECT: `${address}:1234`, QEMU_SOCKET_IP: '10.77.0.2' },
      ...{ QEMU_MAC_ADDR_1: '52:54:00:dd:ee:ff', QEMU_MAC_ADDR_0: '52:54:00:aa:bb:cc' },
      ...{ QEMU_RESTRICT: 'off', QEMU_NET: '10.9.0.0/24', DISK_SIZE: '3G' },
    });
    [closed, open] = await Promise.all([connectTo('closed'), connectTo('open')]);
  },
  { timeout: 900_000 },
);
after(async () => {
  await closed?.[Symbol.asyncDispose]();
  await open?.[Symbol.asyncDispose]();
  await engine?.[Symbol.asyncDispose]();
  await removeBridge();
});

const removeBridge = (): Promise<unknown> => run('ip', ['link', 'del', bridge]).catch(() => undefined);

async function connectTo(name: string): Promise<SshConnection> {
  const [address = ''] = (await engine.docker('port', name, '22/tcp')).split('\n');
  const dial = async () => connect(Number(address.split(':').at(-1)), '127.0.0.1');
  for (;;) {
    try {
      const hostKey = findHostKey((await engine.docker('logs', name)).replaceAll('\r', ''));
      if (hostKey !== null)
        return await connectSsh({ open: dial, hostKey, privateKey: keys.privateKey }, signal);
    } catch {
      // Its sshd is not there yet.
    }
    await sleep(500, undefined, { signal });
  }
}

const ask = (vm: SshConnection, command: string): Promise<string> => capture(vm, command, { signal });
const greet = (host: string): string =>
  `timeout 5 bash -c 'exec 3<>/dev/tcp/${host}/22 && head -c 4 <&3' || echo no way`;

test("a container is a running VM: ssh on port 22 with the key it was given, healthy, and its arguments are QEMU's", async () => {
  assert.equal((await ask(closed, 'buildctl --version')).split(' ')[2], 'v0.20.2');
  const state = (): Promise<string> =>
    engine.docker('inspect', '--format={{.State.Health.Status}}', 'closed');
  while ((await state()) !== 'healthy') await sleep(500, undefined, { signal });
  assert.match(
    await engine.docker('exec', 'closed', 'cat', '/proc/1/cmdline'),
    /^qemu-system-x86_64\0.*\0-name\0appended\0?$/s,
  );
});

test("it is nobody in a read-only container without capabilities, in QEMU's own sandbox", async () => {
  const status = await engine.docker('exec', 'closed', 'cat', '/proc/1/status');
  assert.match(status, /^Uid:\s+10001\s/m);
  assert.match(status, /^CapEff:\s+0+$/m);
  assert.match(status, /^CapBnd:\s+0+$/m);
  assert.match(status, /^NoNewPrivs:\s+1$/m);
  assert.match(status, /^Seccomp:\s+2$/m);
});

test('its guest reaches nothing, not even its own container, unless that was opened', async () => {
  assert.equal(await ask(closed, greet('10.0.2.2')), 'no way\n');
  assert.equal(await ask(open, greet('10.9.0.2')), 'SSH-');
});

test("the archive's variables say subnet and MAC address; DISK_SIZE the size of the disk", async () => {
  const text = await ask(open, 'ip -o -4 addr show scope global; ip -o link; lsblk -bdno SIZE /dev/vda');
  assert.match(text, /inet 10\.9\.0\.15\/24/);
  assert.match(text, /52:54:00:aa:bb:cc/);
  assert.match(text, /^3221225472$/m);
});

test('the second network leads from VM to VM', async () => {
  assert.equal(await ask(open, greet('10.77.0.1')), 'SSH-');
});

test('a key that is none of ssh-ed25519 is refused in plain words', async () => {
  const image = await engine.docker('inspect', '--format={{.Image}}', 'closed');
  await assert.rejects(
    engine.docker('run', '--rm', '--network=none', '-e', 'SSH_KEY=ssh-rsa AAAA', image),
    /SSH_KEY must be the one line of an ssh-ed25519 key\./,
  );
});
