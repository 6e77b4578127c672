import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import type { EgressDestination } from '../../src/model/build.ts';
import { localAdmin } from '../../src/model/caller.ts';
import { build, startForFile } from './harness.ts';
import { createArchives, readTar } from './named-contexts.ts';
import { startOrigin } from './origin.ts';

const origin = await startOrigin();
after(() => origin[Symbol.asyncDispose]());
const { httpPort, httpsPort, echoPort } = origin;
const opened = [
  `host.kiln.internal:${httpPort}`,
  `host.kiln.internal:${httpsPort}`,
  `host.kiln.internal:${echoPort}`,
];
const { service } = await startForFile({ KILN_EGRESS_ALLOW: opened.join() });
const url = `http://host.kiln.internal:${httpPort}`;

function script(...lines: readonly string[]): string {
  return `RUN <<'STEP'\nset -eu\n${lines.join('\n')}\nSTEP`;
}

/** A Dockerfile whose one step runs these lines of shell. */
function step(...lines: readonly string[]): Record<string, string> {
  return { Dockerfile: `FROM busybox\nARG HTTP_PROXY\n${script(...lines)}\n` };
}

function brief({ name, port, allowed, reason, connections }: EgressDestination) {
  return { name, port, allowed, reason, connections };
}

// Two at once, as one alone leaves processors idle.
describe('builds with a network', { concurrency: 2 }, () => {
  test('programs that know of no proxy reach what is open, by name; the record says what, how often and how much', async () => {
    const { exit, body, id } = await build(
      service,
      step(
        'set +u; echo "proxies [$(env | grep -i proxy)] [$HTTP_PROXY]"; set -u',
        `wget -qO- ${url}/hello`,
        `wget -qO- ${url}/hello >/dev/null`,
        `echo "half-closed $(echo -n hello | nc host.kiln.internal ${echoPort})"`,
        'nslookup -type=a host.kiln.internal 8.8.8.8 | tail -n 3',
      ),
    );
    assert.equal(exit, 0, body);
    assert.match(body, / proxies \[\] \[\]\n/);
    assert.match(body, / hello from the origin\n/);
    assert.match(body, / half-closed <hello>\.\n/);
    assert.match(body, /Address: 198\.1[89]\./);
    const { egress, vm } = await service.builds.get(localAdmin, id);
    assert.equal(vm?.network, 'bridge');
    const seen = egress.filter(({ name }) => name === 'host.kiln.internal');
    assert.deepEqual(seen.map(brief), [
      { name: 'host.kiln.internal', port: httpPort, allowed: true, reason: null, connections: 2 },
      { name: 'host.kiln.internal', port: echoPort, allowed: true, reason: null, connections: 1 },
    ]);
    const [, echoed] = seen;
    assert.deepEqual([echoed?.address, echoed?.bytesIn, echoed?.bytesOut], ['127.0.0.1', 8, 5]);
  });

  test('a step that serves on its own address is reached there, on any port; two stages may listen on one', async () => {
    const serve = (word: string): string =>
      script(
        `mkdir /srv && echo ${word} >/srv/word`,
        'for port in 22 3128 8000; do httpd -p $port -h /srv; done',
        'sleep 2',
        'for port in 22 3128 8000; do for host in 127.0.0.1 localhost; do',
        `  wget -qO- http://$host:$port/word >>/${word}`,
        'done; done',
      );
    const Dockerfile = [
      ...['FROM busybox AS one', serve('one'), 'FROM busybox AS two', serve('two')],
      ...['FROM busybox', 'COPY --from=one /one /', 'COPY --from=two /two /'],
      'RUN echo "words $(cat /one /two | tr -d "\\n")"',
    ].join('\n');
    const { exit, body } = await build(service, { Dockerfile });
    assert.equal(exit, 0, body);
    assert.match(body, new RegExp(` words ${'one'.repeat(6)}${'two'.repeat(6)}\\n`));
  });

  test('what is refused is refused at once, told at the end of the log with its cure, and on record with its reason', async () => {
    const { exit, body, id } = await build(
      service,
      step(
        'nc 10.0.0.5 5432 </dev/null || echo "no database"',
        'nc 169.254.169.254 80 </dev/null || echo "no metadata"',
        `nc host.kiln.internal ${echoPort - 1} </dev/null || echo "not that port"`,
        'wget -qO- http://nobody.invalid/ || echo "no such name"',
        'echo | nc -u -w 1 8.8.8.8 443 || echo "no UDP"',
      ),
    );
    assert.equal(exit, 0, body);
    for (const words of ['no database', 'no metadata', 'not that port', 'no such name'])
      assert.match(body, new RegExp(` ${words}\n`), words);
    assert.match(body, /kiln: refused: .*10\.0\.0\.5:5432.*not public.*KILN_EGRESS_ALLOW=10\.0\.0\.5:5432/);
    const { egress } = await service.builds.get(localAdmin, id);
    const reasons = Object.fromEntries(egress.map(({ name, address, reason }) => [name ?? address, reason]));
    assert.deepEqual(
      [reasons['10.0.0.5'], reasons['169.254.169.254'], reasons['host.kiln.internal']],
      ['not-public', 'not-public', 'not-public'],
    );
    assert.match(String(reasons['nobody.invalid']), /^name-un(known|resolved)$/);
  });

  test('buildkitd needs no proxy either: ADD of a URL, of a repository, also of an authority of our own, and pulls', async () => {
    const Dockerfile = [
      'FROM busybox',
      `ADD ${url}/hello /hello`,
      `ADD ${url}/repo.git /repository`,
      // The repository alone: Go gives a handshake ten seconds, which four downloads at once under emulation may take.
      `ADD https://host.kiln.internal:${httpsPort}/repo.git /over-tls/`,
      'RUN cat /hello /repository/read-me /over-tls/read-me | tr "\\n" " "',
    ].join('\n');
    const { exit, body, id } = await build(service, { Dockerfile });
    assert.equal(exit, 0, body);
    assert.match(body, / hello from the origin from git from git /);
    const { egress } = await service.builds.get(localAdmin, id);
    assert.deepEqual(egress.map(({ name, allowed }) => `${name} ${allowed}`).sort(), [
      'host.kiln.internal true',
      'host.kiln.internal true',
      'mirror-0.kiln.internal true',
    ]);
  });

  test('with network=none nothing leaves the VM, not even a pull; what it asked for is told', async () => {
    const { exit, body, id } = await build(service, { Dockerfile: 'FROM busybox\n' }, 'network=none');
    assert.equal(exit, 18, body);
    assert.match(body, /kiln: refused: .*network=none/);
    const record = await service.builds.get(localAdmin, id);
    assert.equal(record.spec.network, 'none');
    assert.deepEqual(new Set(record.egress.map(({ reason }) => reason)), new Set(['network-none']));
    const alone = { Dockerfile: 'FROM scratch\nCOPY Dockerfile /\n' };
    assert.equal((await build(service, alone, 'network=none')).exit, 0);
  });

  test('named contexts: a layout is a base, a folder is copied from, an image is pulled, a repository and a file are fetched', async () => {
    await using archives = await createArchives();
    const copies = ['lib / /lib/', 'src /read-me /', 'one /hello /', 'pulled /bin/probe /'];
    const Dockerfile = [
      ...['FROM no-such.test/base AS base', 'FROM base'],
      ...copies.map((copy) => `COPY --from=${copy}`),
    ].join('\n');
    const { exit, body, id } = await build(
      service,
      { Dockerfile },
      ...[`build-context.base=@${archives.layout}`, `build-context.lib=@${archives.files}`],
      ...[`build-context.src=${url}/repo.git#main`, `build-context.one=${url}/hello`],
      ...['build-context.pulled=docker-image://busybox', 'output=local'],
    );
    assert.equal(exit, 0, body);
    const { namedContexts } = await service.builds.get(localAdmin, id);
    assert.deepEqual(
      namedContexts.map(({ name, kind }) => `${name} ${kind}`),
      ['base oci-layout', 'lib folder', 'src git', 'one http', 'pulled docker-image'],
    );
    const { probe, ...files } = await readTar((await service.builds.artifact(localAdmin, id)).path);
    assert.ok(probe && probe.length > 1000, 'it is a program');
    assert.deepEqual(files, {
      ...{ 'of-base': 'from the layout\n', 'lib/kept': 'from the folder\n' },
      ...{ 'lib/.dockerignore': 'ignored\n', 'read-me': 'from git\n', hello: 'hello from the origin\n' },
    });
  });
});

// Alone, as it watches the memory of kiln.
test('three hundred connections are open at once; 200 MB come in, in memory that stays flat', async () => {
  const before = process.memoryUsage().rss;
  let most = before;
  const watch = setInterval(() => {
    most = Math.max(most, process.memoryUsage().rss);
  }, 50);
  const { exit, body, id } = await build(
    service,
    step(
      "address=$(nslookup -type=a host.kiln.internal | grep -o '198[.][0-9.]*')",
      `/bin/many $address ${echoPort} 300`,
      `echo "bytes $(wget -qO- '${url}/zeros?bytes=200000000' | wc -c)"`,
    ),
  );
  clearInterval(watch);
  assert.equal(exit, 0, body);
  assert.match(body, / 300 right\n/);
  assert.match(body, / bytes 200000000\n/);
  assert.ok(origin.echoes.most >= 300, `${origin.echoes.most} at once`);
  assert.ok(most - before < 150e6, `kiln grew by ${((most - before) / 1e6).toFixed(0)} MB`);
  const seen = (await service.builds.get(localAdmin, id)).egress.find(({ port }) => port === httpPort);
  assert.ok(seen && seen.bytesIn >= 200e6, JSON.stringify(seen));
});
