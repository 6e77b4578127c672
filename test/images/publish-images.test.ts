import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import {
  type PublishRequest,
  publishImages,
  refusePublished,
} from '../../src/images/publish/publish-images.ts';
import { type DockerRegistry, startDockerRegistry } from '../docker-registry.ts';
import {
  answerWith,
  createLayout,
  ensureProgram,
  type Fault,
  getManifest,
  openTestRegistry,
  signal,
  startProxy,
  type TestLayout,
} from '../registry/harness.ts';

/** Each test has an entry of its own: they share one registry. */
let entries = 0;
const newEntry = (): string => `buildkit-v0.20.${++entries}`;

let program: string;
let real: DockerRegistry;

before(async () => {
  program = await ensureProgram();
  real = await startDockerRegistry();
});
after(() => real[Symbol.asyncDispose]());

type Pair = AsyncDisposable & { readonly ctr: TestLayout; readonly dqd: TestLayout };

async function createPair(): Promise<Pair> {
  const [ctr, dqd] = [await createLayout(), await createLayout()];
  return {
    ...{ ctr, dqd },
    async [Symbol.asyncDispose]() {
      await ctr[Symbol.asyncDispose]();
      await dqd[Symbol.asyncDispose]();
    },
  };
}

function requestOf({ ctr, dqd }: Pair, entry: string, version = 'v0.1.0'): PublishRequest {
  const images = [
    { kind: 'ctr', ...ctr },
    { kind: 'dqd', ...dqd },
  ] as const;
  return { entry, version, images };
}

function publish(request: PublishRequest, { host = real.host, until = signal, lines = [] as string[] } = {}) {
  const registry = openTestRegistry({ program, host, lines });
  return publishImages(request, { registry, say: (line) => void lines.push(line) }, until);
}

/** What the tags of an entry lead to, asked without kiln's code; null for one that is not there. */
async function tagsOf(entry: string, version = 'v0.1.0'): Promise<(string | null)[]> {
  const tags = [`ctr_${entry}_${version}`, `${entry}_${version}`, `ctr_${entry}`, entry];
  const answers = await Promise.all(tags.map((tag) => getManifest(real.url, tag)));
  return answers.map(({ status, digest }) => (status === 200 ? digest : null));
}

test('both images get the tags of their version, and then the aliases lead to them', async () => {
  const entry = newEntry();
  await using pair = await createPair();
  const [ctr, dqd] = [pair.ctr.digest, pair.dqd.digest];
  const published = await publish(requestOf(pair, entry));
  const name = `${real.host}/archive/kiln`;
  assert.deepEqual(published, [
    { kind: 'ctr', digest: ctr, reference: `${name}:ctr_${entry}_v0.1.0`, alias: `${name}:ctr_${entry}` },
    { kind: 'dqd', digest: dqd, reference: `${name}:${entry}_v0.1.0`, alias: `${name}:${entry}` },
  ]);
  assert.deepEqual(await tagsOf(entry), [ctr, dqd, ctr, dqd]);
});

test('the next version moves the aliases, and the one before stays what it was', async () => {
  const entry = newEntry();
  await using first = await createPair();
  await using second = await createPair();
  await publish(requestOf(first, entry));
  await publish(requestOf(second, entry, 'v0.1.1'));
  const [ctr, dqd] = [second.ctr.digest, second.dqd.digest];
  assert.deepEqual(await tagsOf(entry), [first.ctr.digest, first.dqd.digest, ctr, dqd]);
  assert.deepEqual(await tagsOf(entry, 'v0.1.1'), [ctr, dqd, ctr, dqd]);
});

test('what is published already is found done, and nothing is sent', async () => {
  const entry = newEntry();
  await using pair = await createPair();
  const before = await publish(requestOf(pair, entry));
  await using proxy = await startProxy(real, () => null);
  const again = await publish(requestOf(pair, entry), { host: proxy.host });
  assert.deepEqual(
    again.map(({ digest }) => digest),
    before.map(({ digest }) => digest),
  );
  assert.ok(
    proxy.requests.every((line) => line.startsWith('GET ')),
    proxy.requests.join('\n'),
  );
});

test('a version that is another image stays that, and nothing else is pushed', async () => {
  const entry = newEntry();
  await using first = await createPair();
  await using second = await createPair();
  await publish({ ...requestOf(first, entry), images: [{ kind: 'dqd', ...first.dqd }] });
  await using proxy = await startProxy(real, () => null);
  await assert.rejects(publish(requestOf(second, entry), { host: proxy.host }), {
    code: 'VERSION_EXISTS',
    message: new RegExp(`has ${entry}_v0\\.1\\.0 already, another image .*name another version`),
  });
  assert.ok(
    proxy.requests.every((line) => line.startsWith('GET ')),
    proxy.requests.join('\n'),
  );
  assert.deepEqual(await tagsOf(entry), [null, first.dqd.digest, null, first.dqd.digest]);
});

test('a tag that somebody else sets while an image is pushed is theirs', async () => {
  const entry = newEntry();
  await using pair = await createPair();
  await using theirs = await createLayout();
  await openTestRegistry({ program, host: real.host }).push(theirs, 'pushing', signal);
  let done = false;
  const fault: Fault = (_request, _response, pass) => {
    const registry = openTestRegistry({ program, host: real.host });
    void registry.tag(theirs.digest, `ctr_${entry}_v0.1.0`, signal).then(pass);
  };
  await using proxy = await startProxy(real, (line) => {
    if (done || !line.startsWith('PUT ')) return null;
    done = true;
    return fault;
  });
  await assert.rejects(publish(requestOf(pair, entry), { host: proxy.host }), { code: 'VERSION_EXISTS' });
  assert.deepEqual(await tagsOf(entry), [theirs.digest, null, null, null]);
});

test('a registry that gives back other bytes than it was sent moves no alias, whatever digest it names', async () => {
  const entry = newEntry();
  await using pair = await createPair();
  const lie: Fault = (request, response) => {
    request.resume();
    const headers = {
      'content-type': 'application/vnd.oci.image.manifest.v1+json',
      'docker-content-digest': pair.ctr.digest,
    };
    response.writeHead(200, headers).end('{"schemaVersion":2}');
  };
  let tagged = false;
  await using proxy = await startProxy(real, (line) => {
    if (line === `PUT /v2/archive/kiln/manifests/ctr_${entry}_v0.1.0`) tagged = true;
    return tagged && line === `GET /v2/archive/kiln/manifests/ctr_${entry}_v0.1.0` ? lie : null;
  });
  await assert.rejects(publish(requestOf(pair, entry), { host: proxy.host }), {
    code: 'DIGEST_MISMATCH',
    message: /answers to ctr_\S+ with sha256:\S+, and sha256:\S+ was pushed/,
  });
  assert.deepEqual((await tagsOf(entry)).slice(2), [null, null]);
});

test('a registry that forgets a tag moves no alias', async () => {
  const entry = newEntry();
  await using pair = await createPair();
  await using proxy = await startProxy(real, (line) =>
    line === `PUT /v2/archive/kiln/manifests/${entry}_v0.1.0` ? answerWith(201) : null,
  );
  await assert.rejects(publish(requestOf(pair, entry), { host: proxy.host }), {
    code: 'DIGEST_MISMATCH',
    message: /with nothing/,
  });
  assert.deepEqual(await tagsOf(entry), [pair.ctr.digest, null, null, null]);
});

test('cut short at any request, no tag leads to less than a whole image, aliases lead to one version or the other, and the next try ends it', async () => {
  const entry = newEntry();
  await using first = await createPair();
  await publish(requestOf(first, entry));
  await using measured = await createPair();
  await using counting = await startProxy(real, () => null);
  await publish(requestOf(measured, newEntry()), { host: counting.host });
  const steps = counting.requests.length;
  assert.ok(steps > 15, counting.requests.join('\n'));
  let [ctrBefore, dqdBefore] = [first.ctr.digest, first.dqd.digest];
  for (let step = 1; step <= steps; step += 5) {
    const version = `v0.2.${step}`;
    await using pair = await createPair();
    const cancel = new AbortController();
    const reason = new Error('cut short');
    const cut: Fault = (_request, _response, pass) => {
      pass();
      cancel.abort(reason);
    };
    await using proxy = await startProxy(real, (_line, count) => (count === step ? cut : null));
    const request = requestOf(pair, entry, version);
    await assert.rejects(publish(request, { host: proxy.host, until: cancel.signal }), reason);
    const [ctr, dqd, ctrAlias, dqdAlias] = await tagsOf(entry, version);
    assert.ok([null, pair.ctr.digest].includes(ctr ?? null));
    assert.ok([null, pair.dqd.digest].includes(dqd ?? null));
    const bothTags = ctr !== null && dqd !== null;
    assert.ok(ctrAlias === ctrBefore || (bothTags && ctrAlias === pair.ctr.digest), `step ${step}`);
    assert.ok(dqdAlias === dqdBefore || (bothTags && dqdAlias === pair.dqd.digest), `step ${step}`);
    await publish(request);
    [ctrBefore, dqdBefore] = [pair.ctr.digest, pair.dqd.digest];
    assert.deepEqual(await tagsOf(entry, version), [ctrBefore, dqdBefore, ctrBefore, dqdBefore]);
  }
});

test('a version that is there is told before anything is made, unless it is what an earlier try published', async () => {
  await using pair = await createPair();
  const entry = newEntry();
  const registry = openTestRegistry({ program, host: real.host });
  const ask = (version: string, ours: readonly string[] = []) =>
    refusePublished({ entry, version, kinds: ['ctr', 'dqd'], ours }, registry, signal);
  await ask('v0.1.0');
  await publish(requestOf(pair, entry));
  const { ctr, dqd } = pair;
  await assert.rejects(ask('v0.1.0'), {
    code: 'VERSION_EXISTS',
    message: `${real.host}/archive/kiln has ctr_${entry}_v0.1.0 already, another image (${ctr.digest}); a version means one image for good, so name another version.`,
  });
  await assert.rejects(ask('v0.1.0', [ctr.digest]), { code: 'VERSION_EXISTS' });
  await ask('v0.1.0', [dqd.digest, ctr.digest]);
  await ask('v0.1.1');
});
