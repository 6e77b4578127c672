import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runTool } from '../../src/lib/process/run-tool.ts';
import { installTools } from '../install-tools.ts';

const { signal } = new AbortController();
const address = '93.184.215.14';

/** In a network of its own, where this machine may have any address: what a guest gets that connects to it. */
const program = `
  import { createServer } from 'node:net';
  import { once } from 'node:events';
  import { execFileSync } from 'node:child_process';
  import { createTestGateway } from '${import.meta.resolve('./harness.ts')}';
  execFileSync('ip', ['link', 'set', 'lo', 'up']);
  await using gateway = await createTestGateway();
  const seen = [];
  const attempt = async () => {
    seen.push(await gateway.open('${address}:8080') === null ? 'refused' : 'reached');
  };
  await attempt();
  execFileSync('ip', ['address', 'add', '${address}/32', 'dev', 'lo']);
  const server = createServer((socket) => { socket.end(); seen.push('connected'); }).listen(8080, '${address}');
  await once(server, 'listening');
  await attempt();
  server.close();
  console.log(seen.join() + ' ' + gateway.told.map(({ allowed, reason }) => allowed + ' ' + reason).join());
  process.exit();`;

test('a public address of this machine is refused from the moment that it has it, although a server listens there', async () => {
  await installTools([
    { find: 'ip', package: 'iproute2' },
    { find: 'unshare', package: 'util-linux' },
  ]);
  const node = [process.execPath, '--input-type=module', '--eval', program];
  const printed = await runTool('unshare', ['--map-root-user', '--net', ...node], signal);
  assert.equal(printed, 'refused,refused true unreachable,false not-public\n');
});
