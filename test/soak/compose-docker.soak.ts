import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type Project, startProject } from '../docker/project.ts';
import { createContext, curl } from '../e2e/harness.ts';

/** The profile `docker` of docker-compose.yml: a service in a container whose VMs are containers beside it. */
const data = '/var/cache/kiln/test-data-compose-docker';
let project: Project;

before(async () => {
  project = await startProject({ service: 'kiln-docker', data });
});
after(() => project?.[Symbol.asyncDispose]());

test('its VMs run in containers that have neither root nor a network, and build', async () => {
  const { engine } = project.docker;
  const list = await engine.docker('ps', '-q', '--filter=label=kiln.installation');
  const [vm = ''] = list.split('\n');
  const { Config: config, HostConfig: host } = JSON.parse(
    await engine.docker('inspect', '--format={{json .}}', vm),
  );
  assert.deepEqual([config.User, host.NetworkMode, host.CapDrop], ['10001:10001', 'none', ['ALL']]);
  await using context = await createContext({ Dockerfile: 'FROM busybox\nRUN echo beside it\n' });
  const { exit, body } = await curl('-F', `context=@${context.archive}`, `${project.url}/build`);
  assert.equal(exit, 0, body);
  assert.match(body, /[\d.]+ beside it\n/);
});

test('down leaves no container, its own nor those of its VMs', async () => {
  await project.compose('--profile=docker', 'down');
  assert.equal(await project.docker.engine.docker('ps', '-aq'), '');
  assert.deepEqual(await readdir(join(data, 'vms')), []);
});
