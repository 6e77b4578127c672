import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { access, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { findEntry, listArchive } from '../../src/catalog/catalog.ts';
import { installDockerPlugins } from '../docker/plugins.ts';

/** What the real compose reads in the compose files. */
const run = promisify(execFile);
const root = join(import.meta.dirname, '../..');
const byHand = join(root, 'images/buildkit/v0.20.2');
let client: string;

before(
  async () => {
    client = await mkdtemp(join(tmpdir(), 'kiln-compose-'));
    await installDockerPlugins(client);
  },
  { timeout: 1_500_000 },
);
after(() => rm(client, { recursive: true }));

type Service = Record<string, unknown> & { environment?: Record<string, string> };
type Project = { services: Record<string, Service> };

async function read(
  folder: string,
  names: readonly string[],
  env: Record<string, string> = {},
): Promise<Project> {
  const files = names.flatMap((name) => ['-f', join(folder, name)]);
  const args = ['compose', '--project-directory', folder, ...files, 'config', '--format', 'json'];
  const options = { env: { ...process.env, DOCKER_CONFIG: client, ...env } };
  return JSON.parse((await run('docker', args, options)).stdout);
}

const plain = ['docker-compose.yml'];
const withKvm = ['docker-compose.yml', 'docker-compose.kvm.yml'];

/** What the second project says of a service beside the first. */
function added(before: Project, after: Project, name: string): string[] {
  assert.deepEqual(Object.keys(after.services), Object.keys(before.services));
  const [from = {}, to = {}] = [before.services[name], after.services[name]];
  for (const [key, value] of Object.entries(from)) assert.deepEqual(to[key], value, key);
  return Object.keys(to).filter((key) => !(key in from));
}

test('no service has a capability, a file system to write on, a privilege or the socket of the engine', async () => {
  const { services } = await read(root, withKvm);
  assert.deepEqual(Object.keys(services).sort(), ['kiln', 'mirror', 'vm-image']);
  for (const service of Object.values(services)) {
    assert.deepEqual(service['cap_drop'], ['ALL']);
    assert.deepEqual(service['security_opt'], ['no-new-privileges:true']);
    assert.equal(service['read_only'], true);
    assert.ok(!('privileged' in service) && !('ports' in service) && !('cap_add' in service));
    assert.doesNotMatch(JSON.stringify(service), /docker\.sock/);
  }
});

test('kiln and the mirror listen on this machine alone, and kiln pulls through the mirror', async () => {
  const { services } = await read(root, plain);
  assert.equal(services['kiln']?.environment?.['KILN_LISTEN'], undefined, "kiln's default is loopback");
  assert.equal(services['mirror']?.environment?.['REGISTRY_HTTP_ADDR'], '127.0.0.1:5000');
  const mirrors = services['kiln']?.environment?.['KILN_REGISTRY_MIRRORS'];
  assert.equal(mirrors, 'docker.io=http://127.0.0.1:5000');
  const other = await read(root, plain, { MIRROR_LISTEN: '127.0.0.1:5050' });
  const moved = other.services['kiln']?.environment?.['KILN_REGISTRY_MIRRORS'];
  assert.equal(moved, 'docker.io=http://127.0.0.1:5050');
});

test('the profile observe adds Prometheus and Grafana, with no more rights than the others and on this machine alone', async () => {
  const { services } = await read(root, plain, { COMPOSE_PROFILES: 'observe' });
  assert.deepEqual(Object.keys(services).sort(), ['grafana', 'kiln', 'mirror', 'prometheus', 'vm-image']);
  for (const name of ['grafana', 'prometheus']) {
    const { command = [], environment = {}, ...service } = services[name] ?? {};
    assert.deepEqual(
      [service['cap_drop'], service['security_opt'], service['read_only'], 'ports' in service],
      [['ALL'], ['no-new-privileges:true'], true, false],
    );
    assert.match(JSON.stringify([command, environment]), /127\.0\.0\.1/);
    for (const { type, source = '' } of service['volumes'] as Record<string, string>[])
      if (type === 'bind') await access(source);
  }
});

test('the VM image is built with the pins of its entry', async () => {
  const { services } = await read(root, plain);
  const build = services['vm-image']?.['build'] as { args: Record<string, string>; context: string };
  const { pins } = findEntry(await listArchive(join(root, 'images')), 'buildkit-v0.20.2');
  assert.equal(build.context, join(root, 'images'));
  for (const [name, value] of Object.entries(build.args)) {
    assert.equal(value, pins[name as keyof typeof pins], name);
  }
  assert.equal(build.args['BUILDKIT_VERSION'], 'v0.20.2');
  assert.equal(services['vm-image']?.['image'], 'kiln/archive:buildkit-v0.20.2_v0.1.0');
});

test('the second file adds what KVM needs, and nothing else', async () => {
  const [before, after] = [await read(root, plain), await read(root, withKvm, { KVM_GID: '107' })];
  assert.deepEqual(added(before, after, 'kiln').sort(), ['devices', 'group_add']);
  assert.deepEqual(after.services['kiln']?.['group_add'], ['107']);
  for (const name of ['mirror', 'vm-image']) assert.deepEqual(added(before, after, name), []);
});

test('a VM by hand is reached from this machine alone, by the key that was given', async () => {
  const key = 'ssh-ed25519 AAAA somebody@home';
  const before = await read(byHand, plain, { SSH_KEY: key, PORT: '2200' });
  const [port] = (before.services['vm']?.['ports'] ?? []) as Record<string, unknown>[];
  assert.deepEqual([port?.['host_ip'], port?.['published'], port?.['target']], ['127.0.0.1', '2200', 22]);
  assert.equal(before.services['vm']?.environment?.['SSH_KEY'], key);
  assert.equal(before.services['vm']?.['image'], 'kiln/archive:buildkit-v0.20.2_v0.1.0');
  const after = await read(byHand, withKvm, { SSH_KEY: key, PORT: '2200' });
  assert.deepEqual(added(before, after, 'vm').sort(), ['devices', 'group_add']);
  await assert.rejects(
    read(byHand, plain, { SSH_KEY: '' }),
    /export SSH_KEY="\$\(cat ~\/\.ssh\/id_ed25519\.pub\)"/,
  );
});
