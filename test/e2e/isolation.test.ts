import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { hashFile } from '../../src/lib/hash.ts';
import { localAdmin } from '../../src/model/caller.ts';
import type { VmRequest } from '../../src/scheduler/vm-request.ts';
import { capture } from '../../src/ssh/capture.ts';
import { build, startForFile, testData } from './harness.ts';
import { lookIntoVm } from './look-into-vm.ts';

const signal = new AbortController().signal;
const { service } = await startForFile();

test('a probe inside RUN reaches nothing of the host, loopback, private or metadata addresses', async () => {
  const { port } = new URL(service.httpUrl);
  const hosts = ['10.0.2.2', '10.0.2.3', '169.254.169.254', '192.168.0.1', '127.0.0.1'];
  const probes = hosts.map((host) => `/bin/probe ${host} ${port} 'GET /livez HTTP/1.1'`);
  const names = ['localhost', 'host.kiln.internal', 'mirror-0.kiln.internal', '[::1]', '[::ffff:127.0.0.1]'];
  const asked = names.map((name) => `wget -qO- http://${name}:${port}/livez || echo no way`);
  // The VM's own: its sshd, the relay, both by its address on the bridge of the steps and by that of its network device.
  const own = ['172.30.0.1', '10.0.2.15'].flatMap((host) =>
    [22, 61_380, 61_353].map((vmPort) => `/bin/probe ${host} ${vmPort} 'GET / HTTP/1.1'`),
  );
  const files = { Dockerfile: `FROM busybox\nRUN ${[...probes, ...own, ...asked].join('; ')}\n` };
  const { exit, body, id } = await build(service, files);
  assert.equal(exit, 0, body);
  assert.doesNotMatch(body, /"alive"|answered/);
  assert.equal(body.match(/could not connect/g)?.length, probes.length + own.length, body);
  assert.equal(body.match(/^#\d+ [\d.]+ no way$/gm)?.length, asked.length, body);
  const refused = (await service.builds.get(localAdmin, id)).egress.filter(({ allowed }) => !allowed);
  assert.ok(
    refused.some(({ address }) => address === '169.254.169.254'),
    'the refusal is recorded',
  );
});

test('eight builds run in eight pristine VMs: each woke as its own, and none sees what another left', async (t) => {
  const look = 'echo "seen $(od -An -N16 -tx1 /dev/urandom | tr -d " ") $(cat /proc/sys/kernel/random/uuid)"';
  // A cache mount is what one build leaves for the next on the same buildkitd.
  const leave = '--mount=type=cache,target=/left echo "left $(ls /left)" && touch /left/marker';
  const files = { Dockerfile: `FROM busybox\nRUN ${look}\nRUN ${leave}\n` };
  const seen: string[] = [];
  const vms = new Set<string>();
  // Each VM is looked into as it is leased, before its build gets it.
  const enter = service.scheduler.enter.bind(service.scheduler);
  t.mock.method(service.scheduler, 'enter', async (request: VmRequest) => {
    await using undo = new AsyncDisposableStack();
    const lease = undo.use(await enter(request));
    seen.push(...(await lookIntoVm(lease.vm.connection)));
    undo.move();
    return lease;
  });
  let left = 8;
  const buildInTurn = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      const { exit, body, id } = await build(service, files);
      assert.equal(exit, 0, body);
      assert.doesNotMatch(body, /CACHED/, 'a later build sees what an earlier one left');
      assert.match(body, /#6 [\d.]+ left \n/, 'a later build sees the marker of an earlier one');
      seen.push(...(/seen (\S+) (\S+)\n/.exec(body)?.slice(1) ?? []));
      vms.add((await service.builds.get(localAdmin, id)).vm?.id ?? '');
    }
  };
  // Two at once, as one alone leaves processors idle.
  await Promise.all([buildInTurn(), buildInTurn()]);
  assert.equal(vms.size, 8);
  assert.equal(seen.length, 40);
  assert.equal(new Set(seen).size, 40);
});

test("a clone's memory is its own: the template's file is the same after one took and gave back 300 MB", async () => {
  const templates = join(testData, 'templates', service.entry);
  const [key = ''] = await readdir(templates);
  const ram = join(templates, key, 'ram');
  const before = await hashFile(ram, signal);
  await using lease = await service.pool.acquire(signal);
  const use = 'dd if=/dev/urandom of=/dev/shm/x bs=1M count=300 2>&1 && rm /dev/shm/x && sync';
  await capture(lease.vm.connection, `${use} && echo 3 >/proc/sys/vm/drop_caches`, { signal });
  assert.equal(await hashFile(ram, signal), before);
});
