import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, test } from 'node:test';
import type { EgressDestination } from '../../src/model/build.ts';
import { createContext, curl, startRegistry, testData, waitUntilReady } from '../e2e/harness.ts';
import { startNameServer } from '../egress/name-server.ts';
import { listen } from '../listen.ts';
import { tied } from '../tied.ts';

/** Names as only a name server of our own has them, from a step in a VM to a kiln that asks that server and no other. */
const root = join(import.meta.dirname, '../..');
const resources = new AsyncDisposableStack();
after(() => resources.disposeAsync());

const asked: string[] = [];
const web = (host?: string) =>
  listen(
    createServer((request, response) => {
      asked.push(request.headers.host ?? '');
      response.end('reached\n');
    }),
    host,
  );
const open = resources.use(await web());
const open6 = resources.use(await web('::1'));
const closed = resources.use(await web());

const publicAddress = '93.184.215.14';
const manyAddresses = Array.from({ length: 2500 }, (_, at) => `93.184.${at >> 8}.${at & 255}`);
const turns = [[publicAddress]];
const nameServer = { host: '127.0.0.77', port: 53 };
resources.use(
  await startNameServer(
    {
      'six.test': { AAAA: ['::1'] },
      'chain.test': { chain: 8, A: ['127.0.0.1'] },
      'large.test': { A: ['127.0.0.1', ...manyAddresses] },
      'slow.test': 'silence',
      'private.test': { A: ['10.0.0.5'] },
      'changing.test': {
        get A() {
          return turns.shift() ?? ['127.0.0.1'];
        },
      },
    },
    nameServer,
  ),
);
const registry = resources.use(await startRegistry());
const kiln = resources.use(
  await startKiln({
    KILN_REGISTRY_MIRRORS: `docker.io=${registry.url}`,
    KILN_EGRESS_ALLOW: `127.0.0.1:${open.port},[::1]:${open6.port}`,
    ...{ KILN_POOL_SIZE: '1', KILN_POOL_FROZEN: '0' },
  }),
);

/** A kiln for which `/etc/resolv.conf` names our server. */
async function startKiln(
  env: Record<string, string>,
): Promise<AsyncDisposable & { readonly httpUrl: string }> {
  await using undo = new AsyncDisposableStack();
  const directory = await mkdtemp(join(tmpdir(), 'kiln-names-'));
  undo.defer(() => rm(directory, { recursive: true }));
  const resolvers = join(directory, 'resolv.conf');
  await writeFile(resolvers, `nameserver ${nameServer.host}\n`);
  const script = 'mount --bind "$0" /etc/resolv.conf && exec "$@"';
  const main = [process.execPath, join(root, 'src/main.ts')];
  const child = spawn(...tied('unshare', ['--mount', 'sh', '-c', script, resolvers, ...main]), {
    env: {
      ...{ PATH: process.env['PATH'], KILN_DATA_DIR: testData },
      ...{ KILN_LISTEN: '127.0.0.1:0', KILN_GRPC_LISTEN: '127.0.0.1:0' },
      ...env,
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  undo.defer(async () => {
    child.kill('SIGTERM');
    await exited;
  });
  for await (const line of createInterface({ input: child.stdout })) {
    const httpUrl = /ready {2}HTTP on (\S+),/.exec(line)?.[1];
    if (httpUrl === undefined) continue;
    child.stdout.resume();
    await waitUntilReady({ httpUrl });
    const started = undo.move();
    return { httpUrl, [Symbol.asyncDispose]: () => started.disposeAsync() };
  }
  throw new Error('The service ended before it was ready.');
}

/** A question for the address of large.test, as DNS over TCP has it. */
const question = String.raw`\0\034\022\064\001\0\0\001\0\0\0\0\0\0\005large\004test\0\0\001\0\001`;

test('what a name server can do to a build: each name leads where it may, and is on record', async () => {
  await using context = await createContext({
    Dockerfile: [
      'FROM busybox',
      "RUN <<'STEP'",
      `get() { echo "$1 $(wget -qO- http://$1:$2/ || echo failed)"; }`,
      `get six.test ${open6.port}`,
      ...['chain', 'large', 'slow', 'private', 'missing'].map((name) => `get ${name}.test ${open.port}`),
      `get changing.test ${closed.port}`,
      `echo "over TCP $(printf '${question}' | nc -w 20 8.8.8.8 53 | od -An -tu1 | tr -d '\\n' | tr -s ' ')"`,
      'STEP',
    ].join('\n'),
  });
  const answer = await curl('-F', `context=@${context.archive}`, `${kiln.httpUrl}/build`);
  assert.equal(answer.exit, 0, answer.body);
  const came = Array.from(
    answer.body.matchAll(/ ([a-z]+)\.test (reached|failed)\n/g),
    ([, name, how]) => `${name} ${how}`,
  );
  assert.deepEqual(
    came,
    [
      ...['six reached', 'chain reached', 'large reached', 'slow failed'],
      ...['private failed', 'missing failed', 'changing failed'],
    ],
    answer.body,
  );
  assert.match(answer.body, / over TCP +0 \d+ 18 52 129 128 0 1 0 1 .* 198 1[89] \d+ \d+\n/);
  assert.deepEqual(
    asked.sort(),
    [`chain.test:${open.port}`, `large.test:${open.port}`, `six.test:${open6.port}`],
    'nothing arrived but what may',
  );
  const id = /x-build-id: (\S+)/i.exec(answer.headers)?.[1] ?? '';
  const record = JSON.parse((await curl(`${kiln.httpUrl}/v1/builds/${id}`)).body) as {
    egress: EgressDestination[];
  };
  const seen = record.egress.filter(({ name }) => name?.endsWith('.test'));
  assert.deepEqual(Object.fromEntries(seen.map(({ name, address, reason }) => [name, [address, reason]])), {
    'six.test': ['::1', null],
    'chain.test': ['127.0.0.1', null],
    'large.test': ['127.0.0.1', null],
    'slow.test': [null, 'name-unresolved'],
    'private.test': ['10.0.0.5', 'not-public'],
    'missing.test': [null, 'name-unknown'],
    'changing.test': ['127.0.0.1', 'not-public'],
  });
});
