import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseConfig } from '../../src/config/config.ts';
import { ensureVmImage } from '../../src/images/ensure-vm-image.ts';
import type { ImageRequest } from '../../src/images/image-request.ts';
import type { VmImage } from '../../src/model/vm-image.ts';
import { capture } from '../../src/ssh/capture.ts';
import { connectSsh, type SshConnection } from '../../src/ssh/connection.ts';
import { ensureKeyPair, type SshKeyPair } from '../../src/ssh/keys.ts';
import { ensureTemplate } from '../../src/vm/ensure-template.ts';
import { findQemu } from '../../src/vm/find-qemu.ts';
import { createProcessLauncher } from '../../src/vm/process-launcher.ts';
import { createProcessUsers } from '../../src/vm/process-users.ts';
import { emulatedProcessor } from '../../src/vm/qemu-arguments.ts';
import type { Template, TemplateRequest } from '../../src/vm/template.ts';
import type { SshEndpoint } from '../../src/vm/vm.ts';
import { imageRequest } from './image-request.ts';

/** What the archived VM says of itself, asked in the VM. */
const facts = [
  {
    command: 'buildkitd --version',
    says: /^buildkitd github\.com\/moby\/buildkit v0\.20\.2 97437fdd7e32f29bb80288d800cd4ffcb34e1c15$/,
  },
  {
    command: 'buildctl --version',
    says: /^buildctl github\.com\/moby\/buildkit v0\.20\.2 97437fdd7e32f29bb80288d800cd4ffcb34e1c15$/,
  },
  {
    command: 'runc --version',
    says: /^runc version 1\.2\.5\ncommit: v1\.2\.5-0-g59923ef1\nspec: 1\.2\.0\ngo: go1\.22\.12\nlibseccomp: 2\.\d+\.\d+$/,
  },
  { command: 'systemctl is-system-running --wait', says: /^running$/ },
  { command: 'systemctl --failed --plain --no-legend', says: /^$/ },
  {
    command:
      'systemctl is-active buildkit.socket buildkit.service ssh.service systemd-networkd systemd-journald systemd-logind systemd-udevd systemd-resolved systemd-timesyncd',
    says: /^(active\n){8}active$/,
  },
  {
    command: 'systemctl show --property=Type,ExecStart --value buildkit.service',
    says: /^notify\n.*argv\[\]=\/usr\/local\/bin\/buildkitd --addr fd:\/\/ ;/,
  },
  {
    command: "buildctl debug workers --format '{{range .}}{{json .Labels}}{{end}}'",
    says: /"org\.mobyproject\.buildkit\.worker\.snapshotter":"overlayfs"/,
  },
  { command: 'systemctl list-timers --plain --no-legend', says: /^(?!.*(apt|man-db|fstrim|logrotate))/s },
  { command: 'findmnt --noheadings --output=SOURCE,FSTYPE,OPTIONS /', says: /^\/dev\/vda\s+ext4\s+rw/ },
  // The guest grows it to KILN_VM_DISK_BYTES when its template is prepared.
  { command: "df --block-size=1G --output=size / | sed '1d;s/ //g'", says: /^[12]$/ },
  { command: 'hostname', says: /^localhost$/ },
  { command: "cut -d: -f2 /etc/shadow | grep -v '^[!*]' | wc -l", says: /^0$/ },
  {
    command: 'sshd -T',
    says: /^(?=.*^permitrootlogin (prohibit-password|without-password)$)(?=.*^passwordauthentication no$)(?=.*^usepam no$)(?=.*^maxsessions 64$)/ms,
  },
  { command: 'ls /etc/ssh/*.pub', says: /^\/etc\/ssh\/ssh_host_ed25519_key\.pub$/ },
  { command: 'cut -c1-32 /etc/machine-id', says: /^[0-9a-f]{32}$/ },
  { command: 'ip route show default', says: /^default via 10\.0\.2\.2 dev \S+/ },
  { command: 'find /var/log/journal -type f | wc -l', says: /^0$/ },
  { command: 'command -v git tar xz zstd perl iptables mke2fs', says: /^(\S+\n){6}\S+$/ },
  {
    command:
      'for m in overlay nf_tables veth bridge loop fuse tun squashfs erofs; do modprobe $m || echo $m; done',
    says: /^$/,
  },
  { command: "grep -o -w -m1 -E 'sse4_2|avx2' /proc/cpuinfo | sort -u", says: /sse4_2/ },
];

const signal = AbortSignal.timeout(900_000);
const answers = new Map<string, string>();
let image: VmImage;
let directory: string;
let strangerRefused = false;
let request: TemplateRequest;
let template: Template;

before(
  async () => {
    directory = await mkdtemp(join(tmpdir(), 'kiln-vm-image-'));
    // QEMU runs as another user than the one who made the folder.
    await chmod(directory, 0o711);
    image = await ensureVmImage(firstImage());
    await bootAndAsk(image);
  },
  { timeout: 900_000 },
);
after(() => rm(directory, { recursive: true, force: true }));

for (const { command, says } of facts) {
  test(`the VM answers \`${command}\` as the archive promises`, () => {
    assert.match((answers.get(command) ?? 'not asked').trim(), says);
  });
}

test('a key that kiln did not name is refused', () => {
  assert.ok(strangerRefused);
});

test('the image says what is inside, as the VM itself does', async () => {
  assert.equal(image.entry, 'buildkit-v0.20.2');
  assert.match(image.digest, /^sha256:[0-9a-f]{64}$/);
  assert.equal(image.versions['buildkit'], answers.get('buildkitd --version')?.trim());
  assert.equal(image.versions['runc'], '1.2.5');
  assert.equal(image.versions['kernel'], answers.get('uname -r')?.trim());
});

test('an image that is there is used as it is', async () => {
  const lines: string[] = [];
  const again = await ensureVmImage({ ...firstImage(), progress: (line) => lines.push(line) });
  assert.deepEqual(again, image);
  assert.deepEqual(lines, ['image  buildkit-v0.20.2: there already']);
});

test('a template is kept while nothing changes; a changed byte, guest or machine makes another', async () => {
  assert.equal(await askForTemplate(), 'kept');
  await using state = await open(template.files.state, 'r+');
  const [byte = 0] = (await state.read(Buffer.alloc(1), 0, 1, 1000)).buffer;
  await state.write(Buffer.of(byte ^ 1), 0, 1, 1000);
  assert.equal(await askForTemplate(), 'made anew');
  assert.equal(existsSync(template.files.state), false, 'the damaged one is gone');
  const preparation = { ...request.preparation, fingerprint: 'other' };
  assert.equal(await askForTemplate({ preparation }), 'made anew');
  assert.equal(await askForTemplate({ setup: { ...request.setup, memoryMiB: 2048 } }), 'made anew');
});

function firstImage(): ImageRequest {
  const config = parseConfig({}, true);
  return imageRequest({
    imagesDirectory: fileURLToPath(new URL('../../images', import.meta.url)),
    cacheDirectory: config.cacheDirectory,
    sealsDirectory: directory,
    sources: config.KILN_IMAGE_SOURCES,
    progress: (line) => console.log(line),
    signal,
  });
}

/** Boots the image as a template is booted, and asks it everything while it runs. */
async function bootAndAsk(image: VmImage): Promise<void> {
  const keys = await ensureKeyPair(directory);
  await mkdir(join(directory, 'templates'), { mode: 0o711 });
  const setup = {
    installation: 'vm-image-test',
    launcher: createProcessLauncher(await findQemu(process.env['PATH'] ?? '', signal)),
    processor: emulatedProcessor,
    cpus: 2,
    memoryMiB: 1024,
    diskBytes: 4 * 1024 ** 3,
    users: createProcessUsers(true),
    vmsDirectory: directory,
    templatesDirectory: join(directory, 'templates'),
  } as const;
  const preparation = { fingerprint: 'test', prepare: (vm: SshEndpoint) => ask(vm, keys) };
  request = { setup, image, authorizedKey: keys.publicKey, preparation, progress: console.log };
  template = await ensureTemplate(request, signal);
}

/** What becomes of a request: a template that was there, or the beginning of another one, which is not waited for. */
async function askForTemplate(change: Partial<TemplateRequest> = {}): Promise<'kept' | 'made anew'> {
  const booting = new AbortController();
  const progress = (line: string): void => {
    if (line.includes('booting')) booting.abort();
  };
  try {
    const again = await ensureTemplate({ ...request, progress, ...change }, booting.signal);
    assert.deepEqual(again, template);
    return 'kept';
  } catch (error) {
    if (!booting.signal.aborted) throw error;
    return 'made anew';
  }
}

async function ask(vm: SshEndpoint, keys: SshKeyPair): Promise<void> {
  await using connection = await connectWhenUp({ ...vm, privateKey: keys.privateKey });
  // First, as `running` is what all others are asked of.
  for (const command of [
    'systemctl is-system-running --wait',
    'uname -r',
    ...facts.map((fact) => fact.command),
  ]) {
    answers.set(command, await capture(connection, `{ ${command}; } 2>&1 || true`, { signal }));
  }
  const stranger = await ensureKeyPair(await mkdtemp(join(directory, 'stranger-')));
  const refused = connectSsh({ ...vm, privateKey: stranger.privateKey }, signal);
  strangerRefused = await refused.then(
    () => false,
    (error: Error) => /authentication/i.test(error.message),
  );
}

async function connectWhenUp(target: Parameters<typeof connectSsh>[0]): Promise<SshConnection> {
  for (;;) {
    try {
      return await connectSsh(target, signal);
    } catch {
      await sleep(200, undefined, { signal });
    }
  }
}
