import assert from 'node:assert/strict';
import { test } from 'node:test';
import { archive, ask, assertProblem, serve } from './harness.ts';

const tar = { 'Content-Type': 'application/x-tar' };

test('row 85: the service answers to its own names, with any port, and to configured ones (simulated builds)', async () => {
  await using harness = await serve({ settings: { hosts: ['Kiln.example'] } });
  for (const host of [
    'localhost',
    'LOCALHOST:1',
    '127.0.0.1',
    '[::1]:8080',
    'kiln.example',
    'KILN.example:443',
  ])
    await harness.api.get('/livez').set('Host', host).expect(200);
});

for (const host of [
  'evil.example',
  'localhost.evil.example',
  'evil.example:127',
  '127.0.0.2',
  '[::2]',
  'localhost:80:80',
  'user@localhost',
  '',
]) {
  test(`row 85: Host '${host}' is refused before the body is read (simulated builds)`, async () => {
    await using harness = await serve();
    const head = `POST /build HTTP/1.1\r\nHost: ${host}\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n`;
    const answer = await ask(harness, head);
    assert.match(answer, /^HTTP\/1\.1 403 [\s\S]*"code":"HOST_NOT_ALLOWED"/);
  });
}

test('row 86: pages of the service itself may use it, also behind a proxy (simulated builds)', async () => {
  await using harness = await serve({ settings: { hosts: ['kiln.example'] } });
  for (const headers of [
    { Host: 'localhost:8080', Origin: 'http://localhost:8080', 'Sec-Fetch-Site': 'same-origin' },
    { Host: 'kiln.example', Origin: 'https://kiln.example' },
    { Host: '127.0.0.1:8080', Origin: 'https://kiln.example' },
  ]) {
    await harness.api
      .post('/build')
      .set({ ...tar, ...headers })
      .send(archive)
      .expect(200);
  }
});

for (const headers of [
  { Origin: 'https://evil.example' },
  { Origin: 'null' },
  { Origin: 'http://localhost:3000' },
  { Origin: 'http://localhost.evil.example:8080' },
  { 'Sec-Fetch-Site': 'cross-site' },
] as const) {
  test(`row 86: ${JSON.stringify(headers)} starts, cancels and reads nothing (simulated builds)`, async () => {
    await using harness = await serve();
    const from = { Host: 'localhost:8080', ...headers };
    const id = '019a0000-0000-7000-8000-000000000001';
    for (const [method, path] of [
      ['post', '/build'],
      ['delete', `/v1/builds/${id}`],
      ['get', `/v1/builds/${id}/log`],
      ['get', '/v1/builds'],
    ] as const)
      assertProblem(await harness.api[method](path).set({ ...tar, ...from }), 403, 'ORIGIN_NOT_ALLOWED');
    assert.deepEqual([harness.builds.started, harness.builds.cancelled], [[], []]);
  });
}

test('row 86: a link of another site may open the public pages (simulated builds)', async () => {
  await using harness = await serve();
  for (const path of ['/', '/docs', '/docs/errors', '/openapi.json'])
    await harness.api.get(path).set('Sec-Fetch-Site', 'cross-site').expect(200);
});
