import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { localAdmin } from '../../src/model/caller.ts';
import { generateKeyPair } from '../../src/ssh/keys.ts';
import { basicAuthOf } from '../registry-accounts.ts';
import { build, startRegistry, startTestService, testData, waitUntilReady } from './harness.ts';

const canary = `canary-${randomBytes(12).toString('hex')}`;
const account = { user: 'kiln', password: `password-${randomBytes(12).toString('hex')}` };
const key = generateKeyPair().privateKey;
const encode = (text: string): string => Buffer.from(text).toString('base64');
type Descriptor = { readonly mediaType: string; readonly digest: string };

/** What must be nowhere: the values, and the account as Docker writes it down. */
const hidden = [
  canary,
  account.password,
  encode(`${account.user}:${account.password}`),
  encode(canary),
  key.split('\n')[2] ?? '',
];

const registry = await startRegistry(account);
const name = `host.kiln.internal:${registry.host.split(':')[1]}`;
const service = await startTestService({ mirror: registry.url, env: { KILN_EGRESS_ALLOW: name } });
const folder = await mkdtemp(join(tmpdir(), 'kiln-secrets-'));
after(async () => {
  await service[Symbol.asyncDispose]();
  await registry[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});
await waitUntilReady(service);
// The registry is a mirror as well, and asks for the account there.
const accounts = { [name]: account, 'mirror-0.kiln.internal:80': account };
const config = Object.fromEntries(
  Object.entries(accounts).map(([host, { user, password }]) => [host, { username: user, password }]),
);
for (const [file, content] of Object.entries({ canary, key, config: JSON.stringify(config) }))
  await writeFile(join(folder, file), content);
const registryConfig = `registry-config=@${join(folder, 'config')}`;

async function manifest(reference: string): Promise<{ digest: string; content: Record<string, never> }> {
  const at = reference.indexOf(':');
  const [repository, tag] = [reference.slice(0, at), reference.slice(at + 1)];
  const types = ['index', 'manifest'].map((kind) => `application/vnd.oci.image.${kind}.v1+json`);
  const answer = await fetch(`${registry.url}/v2/${repository}/manifests/${tag}`, {
    headers: {
      Authorization: basicAuthOf(account),
      Accept: [...types, 'application/vnd.docker.distribution.manifest.v2+json'].join(),
    },
  });
  assert.equal(answer.status, 200, await answer.clone().text());
  const content = (await answer.json()) as Record<string, never>;
  return { digest: answer.headers.get('docker-content-digest') ?? '', content };
}

/** An index or a manifest, and every document below it that is JSON. */
async function readAll(repository: string, digest: string): Promise<unknown[]> {
  const { content } = await manifest(`${repository}:${digest}`);
  const {
    manifests = [],
    layers = [],
    config,
  } = content as unknown as Record<string, Descriptor[]> & { config?: Descriptor };
  const blobs = [...layers, ...(config ? [config] : [])].filter(({ mediaType }) =>
    mediaType.endsWith('json'),
  );
  const below = manifests.map((one) => readAll(repository, one.digest));
  const texts = blobs.map(async ({ digest: blob }) => {
    const headers = { Authorization: basicAuthOf(account) };
    return (await fetch(`${registry.url}/v2/${repository}/blobs/${blob}`, { headers })).text();
  });
  return [content, ...(await Promise.all([...below, ...texts]))];
}

/** Command lines and environments of every process of this machine, until it is disposed. */
function watchProcesses(): AsyncDisposable & { readonly found: readonly string[] } {
  const found: string[] = [];
  let goesOn = true;
  const watch = async (): Promise<void> => {
    while (goesOn) {
      for (const pid of (await readdir('/proc')).filter((entry) => /^\d+$/.test(entry)))
        for (const part of ['cmdline', 'environ']) {
          const text = await readFile(`/proc/${pid}/${part}`, 'latin1').catch(() => '');
          if (hidden.some((secret) => text.includes(secret))) found.push(`${pid} ${part}`);
        }
      await sleep(200);
    }
  };
  const watching = watch();
  return {
    found,
    async [Symbol.asyncDispose]() {
      goesOn = false;
      await watching;
    },
  };
}

/** Of every file of the service but its templates, which were there before, and its VMs' folders, which are gone. */
async function filesWithSecrets(): Promise<string[]> {
  const entries = await readdir(testData, { recursive: true, withFileTypes: true });
  const files = entries
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name: file }) => join(parentPath, file))
    .filter((path) => !path.startsWith(join(testData, 'templates')));
  const found: string[] = [];
  for (const path of files) {
    const bytes = await readFile(path).catch(() => Buffer.alloc(0));
    if (hidden.some((secret) => bytes.includes(secret))) found.push(path);
  }
  return found;
}

test('an image is pushed under two names and kept as well, with a secret, a key and an account that are found nowhere', async () => {
  const files = {
    Dockerfile: [
      'FROM busybox',
      "RUN --mount=type=secret,id=canary --mount=type=ssh <<'STEP'",
      'set -eu',
      'cat /run/secrets/canary; echo',
      'printf "%s" "$(cat /run/secrets/canary)" | od -An -tx1 | tr -d " \\n"; echo',
      'for part in 1 2 3; do head -c 20 /run/secrets/canary; sleep 0.2; tail -c +21 /run/secrets/canary; done; echo',
      'test -S "$SSH_AUTH_SOCK" && echo "an agent"',
      'grep -c "192.0.2.7.*db.example.org" /etc/hosts; ulimit -n; grep /dev/shm /proc/mounts',
      'echo done >/result',
      'STEP',
      '',
    ].join('\n'),
  };
  await using watching = watchProcesses();
  const { exit, body, id } = await build(
    service,
    files,
    registryConfig,
    `secret.canary=@${join(folder, 'canary')}`,
    `ssh.default=@${join(folder, 'key')}`,
    'output=oci',
    'provenance=mode=max',
    ...['add-host=db.example.org:192.0.2.7', 'shm-size=1m', 'ulimit=nofile=77:99'],
    `push=${name}/team/app:1`,
    `push=${name}/team/app:latest`,
  );
  assert.equal(exit, 0, body);
  assert.match(body, / an agent\n/);
  assert.match(body, /#\d+ [\d.]+ 1\n#\d+ [\d.]+ 77\n#\d+ [\d.]+ \w+ \/dev\/shm .*size=1024k/);
  // What follows at once is one mask with what was before.
  assert.equal(body.match(/ \*\*\*\n/g)?.length, 3, body);
  for (const secret of hidden) assert.ok(!body.includes(secret));
  const [first, latest] = await Promise.all(['team/app:1', 'team/app:latest'].map(manifest));
  assert.equal(first?.digest, latest?.digest);
  // Everything that the registry has of it: layers are compressed, and none of them was written a secret.
  const said = JSON.stringify(await readAll('team/app', first?.digest ?? ''));
  assert.match(said, /slsa\.dev\/provenance/);
  for (const secret of hidden) assert.ok(!said.includes(secret));
  const record = await service.builds.get(localAdmin, id);
  assert.deepEqual(record.pushed, [
    { reference: `${name}/team/app:1`, digest: first?.digest },
    { reference: `${name}/team/app:latest`, digest: first?.digest },
  ]);
  assert.ok(body.includes(`kiln: pushed ${name}/team/app:1@${first?.digest}\n`), body);
  assert.deepEqual([record.pushBegun, record.artifact?.format], [true, 'oci']);
  assert.deepEqual(record.secrets.secrets, ['canary']);
  assert.deepEqual(watching.found, []);
  assert.deepEqual(await filesWithSecrets(), []);
});

test('compression, annotations, media types and times of an image are as they were asked for', async () => {
  const { exit, body, id } = await build(
    service,
    { Dockerfile: 'FROM scratch\nARG SOURCE_DATE_EPOCH\nCOPY a /\n', a: 'hello' },
    registryConfig,
    'build-arg=SOURCE_DATE_EPOCH=86400',
    `output=type=image,name=${name}/team/zstd:1,push=true,compression=zstd,compression-level=3,oci-mediatypes=true,annotation.org.example.a=b,rewrite-timestamp=true`,
  );
  assert.equal(exit, 0, body);
  const { digest, content } = await manifest('team/zstd:1');
  const { annotations, layers, mediaType } = content as unknown as {
    annotations: object;
    mediaType: string;
    layers: { mediaType: string }[];
  };
  assert.deepEqual(annotations, { 'org.example.a': 'b' });
  assert.equal(mediaType, 'application/vnd.oci.image.manifest.v1+json');
  assert.deepEqual(
    layers.map((layer) => layer.mediaType),
    ['application/vnd.oci.image.layer.v1.tar+zstd'],
  );
  assert.equal((await service.builds.get(localAdmin, id)).imageDigest, digest);
});

test('without an account nothing is pushed, and the build fails by itself', async () => {
  const { exit, body, id } = await build(
    service,
    { Dockerfile: 'FROM scratch\nCOPY a /\n', a: 'hello' },
    `push=${name}/team/none:1`,
  );
  assert.equal(exit, 18, body);
  const { state, pushed } = await service.builds.get(localAdmin, id);
  assert.deepEqual([state, pushed], ['failed', []]);
});
