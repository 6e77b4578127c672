import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmod, mkdtemp, readdir, readFile, rm, stat, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { vmTools } from '../../src/host/host-tools.ts';
import { findQemu } from '../../src/vm/find-qemu.ts';
import { createHotPlug } from '../../src/vm/hot-plug.ts';
import { createProcessLauncher } from '../../src/vm/process-launcher.ts';
import { createProcessUsers, type ProcessUsers } from '../../src/vm/process-users.ts';
import { hotPlugPorts } from '../../src/vm/qemu-arguments.ts';
import { createVmFolder, type VmFolder } from '../../src/vm/vm-folder.ts';
import { noImage } from '../images/no-image.ts';
import { installTools } from '../install-tools.ts';

await installTools(vmTools);
const users = createProcessUsers(true);
const { signal } = new AbortController();

type Harness = AsyncDisposable & {
  readonly folder: VmFolder;
  readonly user: User;
  readonly context: string;
  /** Something that only root may write. */
  readonly secret: string;
  /** What a shell says that runs as this VM's user. */
  say(script: string): Promise<string>;
};

type User = NonNullable<ProcessUsers['template']>;

async function createHarness(): Promise<Harness> {
  const base = await mkdtemp(join(tmpdir(), 'kiln-folder-'));
  await chmod(base, 0o711);
  const [overlay, context, secret] = [join(base, 'overlay'), join(base, 'context'), join(base, 'secret')];
  for (const path of [overlay, context, secret]) await writeFile(path, path, { mode: 0o600 });
  const { user, release } = users.acquire();
  assert.ok(user);
  return {
    folder: await createVmFolder(join(base, 'vm'), overlay, user),
    user,
    context,
    secret,
    say: (script) => runAs(user, join(base, 'vm'), script),
    async [Symbol.asyncDispose]() {
      release();
      await rm(base, { recursive: true });
    },
  };
}

function runAs(user: User, cwd: string, script: string): Promise<string> {
  const groups = user.group === undefined ? '--clear-groups' : `--groups=${user.group}`;
  const args = [`--reuid=${user.uid}`, `--regid=${user.gid}`, groups, 'sh', '-c', script];
  return new Promise((resolve) => {
    execFile('setpriv', args, { cwd }, (_error, stdout) => resolve(stdout));
  });
}

test("QEMU's user opens its files, and can neither add, rename nor remove a name in its folder", async () => {
  await using harness = await createHarness();
  const { folder, context } = harness;
  await folder.addReadOnly('context', context);
  await folder.addBlank('artifact', 4096);
  const before = await readdir(folder.path);
  const change = [
    'echo x >disk.qcow2 && echo wrote disk',
    'echo x >artifact && echo wrote artifact',
    'cat context >/dev/null && echo read context',
    '(echo x >context) && echo WROTE CONTEXT',
    'chmod 0666 context && echo OPENED CONTEXT',
    'touch new && echo ADDED',
    'ln -s /etc/passwd link && echo LINKED',
    'ln -f disk.qcow2 artifact && echo REPLACED',
    'mv artifact other && echo RENAMED',
    'rm -f artifact && echo REMOVED',
    'chmod 0777 . && echo OPENED FOLDER',
  ];
  const said = await harness.say(change.join('\n'));
  assert.equal(said, 'wrote disk\nwrote artifact\nread context\n');
  assert.deepEqual(await readdir(folder.path), before);
  assert.equal((await stat(folder.path)).uid, 0);
});

test('a real QEMU, as that user, opens what is plugged in: to read alone, or to write', async () => {
  await using harness = await createHarness();
  const { folder, context } = harness;
  await truncate(context, 4096);
  const args = ['-M', 'q35', '-S', '-m', '16M', '-display', 'none', '-nodefaults'];
  const ports = hotPlugPorts.flatMap((id, at) => ['-device', `pcie-root-port,id=${id},chassis=${at + 1}`]);
  const monitor = ['-chardev', 'stdio,id=qmp,signal=off', '-mon', 'chardev=qmp,mode=control'];
  const launcher = createProcessLauncher(await findQemu(process.env['PATH'] ?? '', signal));
  const machine = {
    accelerator: 'tcg',
    args: [...args, ...ports, ...monitor],
    image: noImage('none'),
    user: harness.user,
  } as const;
  const qemu = await launcher.start({ ...machine, directory: folder.path, reads: [] }, signal);
  try {
    await qemu.qmp.negotiate(signal);
    const { plugFile, plugBlank } = createHotPlug(qemu.qmp, folder);
    await plugFile({ serial: 'context', source: context }, signal);
    const artifact = await plugBlank({ serial: 'artifact', bytes: 1024 * 1024 }, signal);
    const blocks = await qemu.qmp.executeHuman('info block', signal);
    assert.match(blocks, /^context: .*\(raw, read-only\)/m);
    const write = 'qemu-io -d disk-artifact/virtio-backend "write -q -P 7 0 4096"';
    assert.equal(await qemu.qmp.executeHuman(write, signal), '');
    const kept = join(folder.path, '../kept');
    await artifact.moveTo(kept);
    await qemu.kill();
    assert.deepEqual((await readFile(kept)).subarray(0, 4096), Buffer.alloc(4096, 7));
  } finally {
    await qemu.kill();
  }
});

test("another VM's user reads nothing there", async () => {
  await using harness = await createHarness();
  await harness.folder.addReadOnly('context', harness.context);
  const { user, release } = users.acquire();
  assert.ok(user);
  const { path } = harness.folder;
  const look = `ls ${path}; cat ${path}/context ${path}/disk.qcow2; stat -c FOUND ${path}/context`;
  assert.equal(await runAs(user, '/', look), '');
  release();
});

test('a context serves a second VM after the first, unaltered', async () => {
  await using first = await createHarness();
  await using second = await createHarness();
  await first.folder.addReadOnly('context', first.context);
  await rm(first.folder.path, { recursive: true });
  await second.folder.addReadOnly('context', first.context);
  assert.equal(await second.say('cat context'), first.context);
});

test('a link is never followed: not as a source, and not where a file is to be', async () => {
  await using harness = await createHarness();
  const { folder, secret, context } = harness;
  const before = await stat(secret);
  const link = join(folder.path, '../link');
  await symlink(secret, link);
  await assert.rejects(folder.addReadOnly('context', link), { code: 'ELOOP' });
  await symlink(secret, join(folder.path, 'artifact'));
  await assert.rejects(folder.addBlank('artifact', 4096), { code: 'EEXIST' });
  await assert.rejects(folder.addReadOnly('artifact', context), { code: 'EEXIST' });
  const after = await stat(secret);
  assert.deepEqual([after.uid, after.gid, after.mode], [before.uid, before.gid, before.mode]);
  assert.equal(await readFile(secret, 'utf8'), secret);
});

test('a file that was moved out is as it was written, and its name is free', async () => {
  await using harness = await createHarness();
  const { folder } = harness;
  await folder.addBlank('artifact', 4096);
  await harness.say('printf kept >artifact');
  const destination = join(folder.path, '../kept');
  await folder.moveOut('artifact', destination);
  assert.equal(await readFile(destination, 'utf8'), 'kept');
  assert.deepEqual(await readdir(folder.path), ['disk.qcow2']);
});
