import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runCommand } from '../../src/cli/run-command.ts';
import { urlOf } from '../../src/cli/service-client.ts';
import { parseConfig } from '../../src/config/config.ts';
import { serve } from '../http/harness.ts';
import { type SimulatedHouse, simulateHouse } from '../operations/simulated-house.ts';

type Run = { readonly printed: () => string; readonly said: () => string; readonly done: Promise<void> };

/** `npm run kiln -- …` of a service, in this process. */
function start(
  url: string,
  args: readonly string[],
  signal = AbortSignal.timeout(60_000),
  token = null,
): Run {
  let printed = '';
  const said: string[] = [];
  const done = runCommand([...args, '--url', url], () => ({
    ...{ config: parseConfig({}, true), uid: 0, token, signal },
    print: (text) => {
      printed += text;
    },
    answer: (line) => {
      printed += `${line}\n`;
    },
    say: (line) => void said.push(line),
  }));
  done.catch(() => undefined);
  return { printed: () => printed, said: () => said.join('\n'), done };
}

async function open(house: SimulatedHouse = simulateHouse()) {
  return serve({ house });
}

test('a rebuild prints its log and ends as the operation does; it is listed (simulated images)', async () => {
  await using harness = await open();
  const { url } = harness;
  const run = start(url, [
    'rebuild',
    'v0.20.2',
    '--target',
    'ctr,vm',
    '--target',
    'dqd',
    '--version',
    'v3.0.0',
  ]);
  await run.done;
  assert.match(run.printed(), /^ctr {2}buildkit-v0\.20\.2 v3\.0\.0 …\n#1 .*\n/);
  assert.match(run.printed(), /\ndqd {2}kiln\/dqd:.*\n/);
  assert.match(
    run.said(),
    /^kiln: operation \S+: buildkit-v0\.20\.2 v3\.0\.0\nkiln: operation \S+ succeeded\.$/,
  );
  const list = start(url, ['operation', 'list']);
  await list.done;
  assert.match(list.printed(), /^\S{36} {2}20\S+Z {2}succeeded {4}buildkit-v0\.20\.2 {2}v3\.0\.0\n$/);
});

test('one that fails says why and how it goes on, and fails (simulated images)', async () => {
  await using harness = await open(simulateHouse({ fail: 'tryOut' }));
  const run = start(harness.url, ['rebuild', 'v0.20.2']);
  await assert.rejects(run.done, {
    message: /^operation (\S+) failed: .*tryOut failed\nnpm run kiln -- operation resume \1 begins again/,
  });
});

test('who stops following is told that it goes on; it can be followed again, cancelled and resumed (simulated images)', async () => {
  const house = simulateHouse();
  await using harness = await open(house);
  const { url } = harness;
  const release = house.hold();
  const stopping = new AbortController();
  const run = start(url, ['rebuild', 'v0.20.2'], stopping.signal);
  while (!run.printed().includes('#1 ')) await new Promise((resolve) => setTimeout(resolve, 20));
  stopping.abort();
  await assert.rejects(run.done, {
    code: 'CANCELLED',
    message: /^operation \S+ goes on\. .* operation cancel /,
  });
  const [, id = ''] = /operation (\S+):/.exec(run.said()) ?? [];
  const cancel = start(url, ['operation', 'cancel', id]);
  await cancel.done;
  assert.equal(cancel.said(), `kiln: operation ${id} cancelled.`);
  release();
  const resume = start(url, ['operation', 'resume', id]);
  await resume.done;
  assert.match(resume.said(), /succeeded\.$/);
  const follow = start(url, ['operation', 'follow', id]);
  await assert.rejects(follow.done, { message: /cancelled/ });
});

test('what the service refuses, and a service that is not there, are told in its words (simulated images)', async () => {
  await using harness = await open();
  const refusals: [string[], object][] = [
    [['rebuild', 'v0.1.99'], { code: 'BUILDKIT_UNKNOWN' }],
    [['rebuild', 'v0.20.2', '--version', 'new'], { code: 'PARAM_INVALID' }],
    [['rebuild', 'v0.20.2', '--arg', 'X'], { message: '--arg X must be NAME=VALUE.' }],
    [['rebuild', 'v0.20.2', '--arg', 'X=1'], { code: 'PARAM_INVALID' }],
    [['rebuild'], { message: /^Write: npm run kiln -- rebuild ENTRY/ }],
    [['operation', 'follow', '../x'], { code: 'NOT_FOUND' }],
  ];
  for (const [args, expected] of refusals) await assert.rejects(start(harness.url, args).done, expected);
  await assert.rejects(start('http://127.0.0.1:9', ['operation', 'list']).done, {
    message: /^http:\/\/127\.0\.0\.1:9 does not answer; does kiln run there\?/,
  });
});

test('a service is called where its settings say that it listens', () => {
  const url = (env: Record<string, string>): string => urlOf(parseConfig(env, true));
  assert.equal(url({}), 'http://127.0.0.1:8080');
  assert.equal(url({ KILN_LISTEN: '[::1]:90' }), 'http://[::1]:90');
  const tls = { KILN_TLS_CERT: '/cert.pem', KILN_TLS_KEY: '/key.pem', KILN_HOSTS: 'kiln.example.org' };
  assert.equal(url({ ...tls, KILN_LISTEN: '0.0.0.0:8443' }), 'https://kiln.example.org:8443');
});
