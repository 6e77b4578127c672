import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { WatchItem } from '../../src/model/event.ts';
import { event, failed, log, record, succeeded, verdict } from '../simulated-builds.ts';
import { archive, curl, serve, waitFor } from './harness.ts';

test('what a build waits for is said once and when it changes; between, one line grows until the log begins (simulated builds)', async () => {
  const gates = [Promise.withResolvers<void>(), Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const script = async function* (): AsyncGenerator<WatchItem> {
    yield event({ type: 'queued', place: 3 });
    await gates[0]?.promise;
    yield event({ type: 'queued', place: 2 });
    await gates[1]?.promise;
    yield event({ type: 'state', state: 'running' });
    await gates[2]?.promise;
    yield log('#1 half a ');
    // Longer than several signs of life, had there been any.
    await sleep(100);
    yield event({ type: 'warning', message: 'late' });
    yield log('line');
    yield verdict(succeeded);
  };
  await using harness = await serve({ script, settings: { keepAliveMs: 20 } });
  const response = await fetch(`${harness.url}/build`, { method: 'POST', body: archive });
  let text = '';
  const ended = (async () => {
    for await (const chunk of response.body?.pipeThrough(new TextDecoderStream()) ?? []) text += chunk;
  })();
  for (const gate of gates) {
    const before = text.length;
    await waitFor(() => text.slice(before).endsWith('....'), 'signs of life');
    gate.resolve();
  }
  await ended;
  const waits = `kiln: build ${record.id} waits for`;
  assert.deepEqual(
    text
      .replaceAll(/\.{4,}/g, '....')
      .split('\n')
      .slice(0, -2),
    [
      `${waits} a VM, place 3 in the queue`,
      'kiln: still waiting ....',
      `${waits} a VM, place 2 in the queue`,
      'kiln: still waiting ....',
      `${waits} BuildKit to begin`,
      'kiln: still waiting ....',
      '#1 half a line',
      'kiln: warning: late',
      'kiln: refused: db.lan:5432: not public; whoever runs this service can open it with KILN_EGRESS_ALLOW=db.lan:5432',
    ],
  );
});

test('curl --fail-with-body, as the documents have it, fails for a refusal and for a failed build (simulated builds)', async () => {
  await using harness = await serve();
  const args = ['--fail-with-body', '-F', 'context=@-', `${harness.url}/build`];
  assert.equal((await curl(args, archive)).exit, 0);
  const refused = await curl(args, 'no archive');
  assert.equal(refused.exit, 22);
  assert.match(refused.body, /"code":"ARCHIVE_/);
  await using failing = await serve({ script: [log('#1 x\n'), verdict(failed)] });
  const cut = await curl([...args.slice(0, -1), `${failing.url}/build`], archive);
  assert.equal(cut.exit, 18);
  assert.match(cut.body, /^#1 x\nkiln: refused: .*\nkiln: build /);
});

test('where another attempt begins a line says so and why; no line stands between the bytes of one log (simulated builds)', async () => {
  const script = [
    log('#1 half a line'),
    event({ type: 'warning', message: 'late' }),
    event({ type: 'attempt', attempt: 2, code: 'INFRA', message: 'The VM went away.' }),
    event({ type: 'queued', place: 1 }),
    log('#1 a line\n'),
    verdict(succeeded),
  ];
  await using harness = await serve({ script });
  const { body } = await curl(['-F', 'context=@-', `${harness.url}/build`], archive);
  assert.deepEqual(body.split('\n').slice(0, 5), [
    '#1 half a line',
    'kiln: warning: late',
    'kiln: attempt 2: The VM went away.',
    `kiln: build ${record.id} waits for a VM, place 1 in the queue`,
    '#1 a line',
  ]);
});
