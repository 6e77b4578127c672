import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { openRegistry } from '../../src/registry/registry.ts';
import { type DockerRegistry, startDockerRegistry } from '../docker-registry.ts';
import {
  answerWith,
  breakOff,
  createLayout,
  ensureProgram,
  fallSilent,
  getManifest,
  openTestRegistry,
  signal,
  startProxy,
} from './harness.ts';

let program: string;
let real: DockerRegistry;

before(async () => {
  program = await ensureProgram();
  real = await startDockerRegistry();
});
after(() => real[Symbol.asyncDispose]());

test('an image goes into a registry and can be read there by its digest, from a folder as from a tar of it', async () => {
  await using image = await createLayout();
  await using other = await createLayout();
  const registry = openTestRegistry({ program, host: real.host });
  await registry.push(image, 'pushing', signal);
  await registry.push({ layout: await other.toTar(), digest: other.digest }, 'pushing', signal);
  for (const { layout, digest } of [image, other]) {
    const there = await getManifest(real.url, digest);
    assert.equal(there.digest, digest);
    assert.equal(await registry.digestOf(digest, signal), digest);
    const { layers } = there.body as { layers: { digest: string }[] };
    const answer = await fetch(`${real.url}/v2/archive/kiln/blobs/${layers[0]?.digest}`);
    const blob = await readFile(join(layout, 'blobs', layers[0]?.digest.replace(':', '/') ?? ''));
    assert.ok(blob.equals(Buffer.from(await answer.arrayBuffer())));
  }
});

test('what is there is not sent again, and people are told what is sent', async () => {
  await using image = await createLayout();
  const lines: string[] = [];
  const registry = openTestRegistry({ program, host: real.host, lines });
  await registry.push(image, 'pushing v1', signal);
  assert.ok(
    lines.some((line) => /^pushing v1: pushed sha256:[0-9a-f]{12}, 0\.1 MB$/.test(line)),
    lines.join('\n'),
  );
  lines.length = 0;
  await using proxy = await startProxy(real, () => null);
  await openTestRegistry({ program, host: proxy.host, lines }).push(image, 'pushing v1', signal);
  assert.deepEqual(lines, [`pushing v1: ${image.digest.slice(0, 19)} is there already`]);
  assert.ok(
    proxy.requests.every((line) => line.startsWith('HEAD ')),
    proxy.requests.join('\n'),
  );
});

test('a tag leads to an image, and to another one once it is moved; one that nobody set leads nowhere', async () => {
  await using one = await createLayout();
  await using two = await createLayout();
  const registry = openTestRegistry({ program, host: real.host });
  assert.equal(await registry.digestOf('moving', signal), null);
  for (const image of [one, two]) {
    await registry.push(image, 'pushing', signal);
    await registry.tag(image.digest, 'moving', signal);
    assert.equal(await registry.digestOf('moving', signal), image.digest);
    assert.equal((await getManifest(real.url, 'moving')).digest, image.digest);
  }
});

test('a registry that restarts, has too much to do or breaks off in the middle of a layer is tried again', async () => {
  const faults = [answerWith(503), answerWith(429, { 'retry-after': '1' }), breakOff(), breakOff(1_000_000)];
  for (const fault of faults) {
    let left = 2;
    await using proxy = await startProxy(real, (line) =>
      line.startsWith('PUT ') && left-- > 0 ? fault : null,
    );
    const lines: string[] = [];
    const registry = openTestRegistry({ program, host: proxy.host, lines });
    await using image = await createLayout(3_000_000);
    await registry.push(image, 'pushing', signal);
    assert.equal((await getManifest(real.url, image.digest)).digest, image.digest);
    assert.ok(
      lines.some((line) => line.includes('trying again in')),
      lines.join('\n'),
    );
  }
});

test('a registry that says when to come again is not asked before', async () => {
  const times: number[] = [];
  await using proxy = await startProxy(real, () => {
    times.push(performance.now());
    return times.length === 1 ? answerWith(429, { 'retry-after': '2' }) : null;
  });
  const lines: string[] = [];
  await openTestRegistry({ program, host: proxy.host, lines }).digestOf('nothing', signal);
  assert.match(lines.join(), /429 .*trying again in 2 s/);
  assert.ok((times[1] ?? 0) - (times[0] ?? 0) >= 2000);
});

test('after three tries it is unavailable, and the error says what is kept', async () => {
  await using proxy = await startProxy(real, () => answerWith(500));
  const registry = openTestRegistry({ program, host: proxy.host });
  await assert.rejects(registry.digestOf('v1', signal), {
    code: 'REGISTRY_UNAVAILABLE',
    message: /^reading v1 failed 3 times, as 127\.0\.0\.1:\d+ is away or overloaded \(GET .* 500 .*; resume/,
  });
  assert.equal(proxy.requests.length, 3);
});

test('a registry that falls silent in the middle of an answer, or of a refusal, is not waited for endlessly', async () => {
  await using image = await createLayout();
  for (const [status, code] of [
    [200, 'REGISTRY_UNAVAILABLE'],
    [500, 'REGISTRY_UNAVAILABLE'],
    [401, 'REGISTRY_AUTH'],
  ] as const) {
    await using proxy = await startProxy(real, (line) =>
      line.startsWith('HEAD') ? null : fallSilent(status),
    );
    const registry = openTestRegistry({ program, host: proxy.host, waitsMs: [], silenceMs: 1000 });
    await assert.rejects(
      registry.digestOf('v1', AbortSignal.timeout(60_000)),
      { code },
      `reading, ${status}`,
    );
    if (status !== 200)
      await assert.rejects(
        registry.push(image, 'pushing', AbortSignal.timeout(60_000)),
        { code },
        `${status}`,
      );
  }
});

test('a registry that is not there is unavailable', async () => {
  const { host } = await startProxy(real, () => null).then(async (proxy) => {
    await proxy[Symbol.asyncDispose]();
    return proxy;
  });
  const registry = openTestRegistry({ program, host });
  await assert.rejects(registry.digestOf('v1', signal), { code: 'REGISTRY_UNAVAILABLE', message: /refused/ });
});

for (const [status, code] of [
  [401, 'REGISTRY_AUTH'],
  [403, 'REGISTRY_AUTH'],
  [400, 'REGISTRY_REFUSED'],
  [413, 'REGISTRY_REFUSED'],
] as const) {
  test(`an answer of ${status} is ${code} at once`, async () => {
    await using image = await createLayout();
    await using proxy = await startProxy(real, (line) =>
      line.startsWith('POST') ? answerWith(status) : null,
    );
    const lines: string[] = [];
    const registry = openTestRegistry({ program, host: proxy.host, lines });
    await assert.rejects(registry.push(image, 'pushing v1', signal), { code });
    assert.ok(!lines.some((line) => line.includes('trying again')), lines.join('\n'));
  });
}

test('a registry that speaks HTTP without TLS is told by the setting that allows it, at once', async () => {
  const lines: string[] = [];
  const registry = openRegistry({
    ...{ program, config: null, waitsMs: [10, 10], say: (line: string) => void lines.push(line) },
    repository: { host: real.host, path: 'archive/kiln', plainHttp: false },
  });
  await assert.rejects(registry.digestOf('v1', signal), {
    code: 'REGISTRY_REFUSED',
    message: new RegExp(
      `^${real.host} speaks HTTP without TLS, .* set KILN_REGISTRY_INSECURE=${real.host}\\.$`,
    ),
  });
  assert.deepEqual(lines, []);
});

test('a layout that is damaged, or has no such image, is no fault of the registry', async () => {
  await using image = await createLayout();
  const registry = openTestRegistry({ program, host: real.host });
  const missing = { layout: image.layout, digest: `sha256:${'0'.repeat(64)}` };
  await assert.rejects(registry.push(missing, 'pushing v1', signal), {
    code: 'INFRA',
    message: /^pushing v1 failed on this machine: /,
  });
  const gone = { layout: `${image.layout}-gone`, digest: image.digest };
  await assert.rejects(registry.push(gone, 'pushing v1', signal), { code: 'INFRA' });
});

test('an abort ends a push that hangs, with its own reason', async () => {
  await using image = await createLayout();
  const cancel = new AbortController();
  const reason = new Error('enough');
  await using proxy = await startProxy(real, (line) =>
    line.startsWith('PUT') ? (): void => cancel.abort(reason) : null,
  );
  const registry = openTestRegistry({ program, host: proxy.host });
  await assert.rejects(registry.push(image, 'pushing', cancel.signal), reason);
});

test('files that tell of an image are found by its digest where the registry has no referrers API, each once', async () => {
  await using image = await createLayout();
  const registry = openTestRegistry({ program, host: real.host });
  await registry.push(image, 'pushing', signal);
  const file = join(image.layout, 'index.json');
  const created = '2026-01-02T03:04:05Z';
  const about = { mediaType: 'application/json', file, title: 'index.json', created };
  const [sbom, provenance] = ['application/spdx+json', 'application/vnd.in-toto+json'];
  const digests: string[] = [];
  for (const artifactType of [sbom, provenance, sbom])
    digests.push(await registry.attach(image.digest, { ...about, artifactType }, signal));
  assert.equal(digests[0], digests[2]);
  const expected = [
    { digest: digests[0], artifactType: sbom },
    { digest: digests[1], artifactType: provenance },
  ];
  assert.deepEqual(await registry.referrers(image.digest, signal), expected);
  // The tag that stands in for the API (distribution-spec 1.1, "Referrers Tag Schema").
  const { body } = await getManifest(real.url, image.digest.replace(':', '-'));
  const { mediaType, manifests } = body as { mediaType: string; manifests: object[] };
  assert.equal(mediaType, 'application/vnd.oci.image.index.v1+json');
  assert.equal(manifests.length, 2);
  const { body: manifest } = await getManifest(real.url, digests[0] ?? '');
  assert.equal((manifest as { subject: { digest: string } }).subject.digest, image.digest);
});
