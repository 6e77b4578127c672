import assert from 'node:assert/strict';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type Project, startProject } from '../docker/project.ts';
import { createContext, curl } from './harness.ts';

const data = '/var/cache/kiln/test-data-compose';
const maxImageBytes = 400e6;
let project: Project;

before(
  async () => {
    project = await startProject({ service: 'kiln', data });
  },
  { timeout: 1_500_000 },
);
after(() => project?.[Symbol.asyncDispose]());

const inspect = async (what: string, format: string): Promise<string> =>
  project.docker.engine.docker('inspect', `--format=${format}`, what);
const inode = async (file: string): Promise<number> => (await stat(file)).ino;

test('the service image is small, and runs as nobody, on a file system that it cannot write', async () => {
  assert.ok(Number(await inspect('kiln/service', '{{.Size}}')) < maxImageBytes);
  assert.equal(await inspect('kiln/service', '{{.Config.User}}'), '10001:10001');
  const id = await project.compose('ps', '-q', 'kiln');
  const { HostConfig: host, State: state } = JSON.parse(await inspect(id, '{{json .}}'));
  assert.deepEqual(
    [host.ReadonlyRootfs, host.CapDrop, host.Privileged, host.SecurityOpt, state.Health.Status],
    [true, ['ALL'], false, ['no-new-privileges:true'], 'healthy'],
  );
  const status = await project.compose('exec', '-T', 'kiln', 'cat', '/proc/1/status');
  assert.match(status, /^CapEff:\s+0+$/m);
});

test('one curl builds in a VM of its own, from an image that comes through the mirror', async () => {
  await using context = await createContext({ Dockerfile: 'FROM busybox\nRUN echo in compose\n' });
  const { exit, body } = await curl('-F', `context=@${context.archive}`, `${project.url}/build`);
  assert.equal(exit, 0, body);
  assert.match(body, /[\d.]+ in compose\n/);
  const mirrored = await fetch(`http://${project.mirror}/v2/_catalog`);
  assert.deepEqual(await mirrored.json(), { repositories: ['library/busybox'] });
});

test('another up hands the VM image over no second time', async () => {
  const volume = await inspect('kiln-test_images', '{{.Mountpoint}}');
  const given = (await readdir(join(volume, 'given'))).map((name) => join(volume, 'given', name));
  assert.equal(given.length, 1);
  const disk = join(given[0] ?? '', 'disk.qcow2');
  const before = await inode(disk);
  await project.compose('up', '-d', '--wait');
  assert.equal(await inode(disk), before);
});

test('a token is made beside the service, and from then on needed', async () => {
  const token = await project.compose('exec', '-T', 'kiln', 'kiln', 'token', 'create', '--role', 'read');
  assert.equal((await fetch(`${project.url}/version`)).status, 401);
  const headers = { authorization: `Bearer ${token}` };
  assert.equal((await fetch(`${project.url}/version`, { headers })).status, 200);
});

test('down leaves no container and no VM', async () => {
  await project.compose('down');
  assert.equal(await project.docker.engine.docker('ps', '-aq'), '');
  assert.deepEqual(await readdir(join(data, 'vms')), []);
});
