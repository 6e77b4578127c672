import assert from 'node:assert/strict';
import { createServer, get } from 'node:http';
import { after, test } from 'node:test';
import { localAdmin } from '../../src/model/caller.ts';
import { build, startForFile } from '../e2e/harness.ts';
import { startOrigin } from '../e2e/origin.ts';
import { listen } from '../listen.ts';

/** Ways of a build from one end to the other that take a VM each. */
const resources = new AsyncDisposableStack();
after(() => resources.disposeAsync());
const origin = resources.use(await startOrigin());

/** A proxy of the user's own: what it was asked for, it gets. */
const asked: string[] = [];
const proxy = resources.use(
  await listen(
    createServer((incoming, outgoing) => {
      asked.push(incoming.url ?? '');
      const { pathname: path } = new URL(incoming.url ?? '', 'http://nowhere');
      get({ host: '127.0.0.1', port: origin.httpPort, path }, (answer) => answer.pipe(outgoing));
    }),
  ),
);
const { service } = await startForFile({ KILN_EGRESS_ALLOW: `host.kiln.internal:${proxy.port}` });

test("a build's own HTTP_PROXY is used where that proxy is open, and is on record as the only way out", async () => {
  const { exit, body, id } = await build(
    service,
    { Dockerfile: 'FROM busybox\nARG http_proxy\nRUN wget -qO- http://only-the-proxy-knows.test/hello\n' },
    `build-arg=http_proxy=http://host.kiln.internal:${proxy.port}`,
  );
  assert.equal(exit, 0, body);
  assert.match(body, / hello from the origin\n/);
  assert.deepEqual(asked, ['http://only-the-proxy-knows.test/hello']);
  const { egress } = await service.builds.get(localAdmin, id);
  const reached = egress.filter(({ allowed }) => allowed).map(({ name, port }) => `${name}:${port}`);
  assert.ok(reached.includes(`host.kiln.internal:${proxy.port}`), reached.join());
  assert.ok(!egress.some(({ name }) => name === 'only-the-proxy-knows.test'));
});

test('a step that prints a million lines and then fails has failed, and its log is whole', async () => {
  const lines = 1_000_000;
  const { exit, body, id } = await build(service, {
    Dockerfile: `FROM busybox\nRUN seq 1 ${lines} && exit 7\n`,
  });
  assert.equal(exit, 18, body.slice(-2000));
  const log = await (await fetch(`${service.httpUrl}/v1/builds/${id}/log`)).text();
  const printed = Array.from(log.matchAll(/^#\d+ [\d.]+ (\d+)$/gm), ([, number]) => Number(number));
  // What fails is said again, in a summary of its last lines.
  const [first, ...rest] = printed;
  assert.equal(first, 1);
  const wrong = rest.slice(0, lines - 1).findIndex((number, at) => number !== at + 2);
  assert.equal(wrong, -1, `line ${wrong + 2} is missing`);
  const { verdict } = await service.builds.get(localAdmin, id);
  assert.equal(verdict?.exitCode, 1);
  assert.match(log.slice(-4000), /exit code: 7/);
});
