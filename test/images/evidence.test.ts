import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { findEntry, listArchive } from '../../src/catalog/catalog.ts';
import { ensureSigningKey } from '../../src/evidence/signing-key.ts';
import {
  provenanceName,
  readStatement,
  sbomName,
  verifyEvidence,
} from '../../src/evidence/verify-evidence.ts';
import { attachEvidence } from '../../src/images/evidence/attach-evidence.ts';
import { compareImages } from '../../src/images/evidence/compare-images.ts';
import { takePrograms } from '../../src/images/evidence/programs-inside.ts';
import { readEvidence } from '../../src/images/evidence/rebuild-evidence.ts';
import {
  type EvidenceRequest,
  ensureEvidence,
  writeEvidence,
} from '../../src/images/evidence/write-evidence.ts';
import { writeOciLayout } from '../../src/images/oci-layout.ts';
import { publishImages } from '../../src/images/publish/publish-images.ts';
import { startDockerRegistry } from '../docker-registry.ts';
import { ensureProgram, getManifest, openTestRegistry, signal } from '../registry/harness.ts';

const run = promisify(execFile);
const imagesDirectory = fileURLToPath(new URL('../../images', import.meta.url));
const files = ['kernel', 'initrd', 'disk.qcow2', 'manifest.json'];
const times = { started: '2026-01-02T03:04:05.678Z', ended: '2026-01-02T03:14:05.678Z' };

let program: string;
before(async () => {
  program = await ensureProgram();
});

type Made = AsyncDisposable & { readonly request: EvidenceRequest };

/** A VM image of a few bytes, and a ctr image that is this machine's list of packages; any Go program stands in for BuildKit's. */
async function createMade(): Promise<Made> {
  const base = await mkdtemp(join(tmpdir(), 'kiln-evidence-'));
  const [directory, root, layout, binaries, keys] = (await Promise.all(
    ['image', 'root', 'layout', 'binaries', 'keys'].map(async (name) => {
      await mkdir(join(base, name));
      return join(base, name);
    }),
  )) as [string, string, string, string, string];
  for (const name of files) await writeFile(join(directory, name), `the ${name}`);
  await mkdir(join(root, 'var/lib/dpkg'), { recursive: true });
  await copyFile('/var/lib/dpkg/status', join(root, 'var/lib/dpkg/status'));
  const tar = join(base, 'layer.tar');
  await run('tar', ['-cf', tar, '-C', root, '.']);
  const { digest } = await writeOciLayout({ tar, directory: layout }, signal);
  await mkdir(join(binaries, 'out'));
  for (const name of ['buildkitd', 'buildctl', 'runc']) await copyFile(program, join(binaries, 'out', name));
  return {
    request: {
      entry: findEntry(await listArchive(imagesDirectory), 'buildkit-v0.20.2'),
      version: 'v0.1.0',
      ...{ directory, files, binaries, imagesDirectory },
      distribution: 'Debian GNU/Linux 12 (bookworm)',
      ctr: { layout, digest },
      dqd: `sha256:${'d'.repeat(64)}`,
      materials: { base: `sha256:${'b'.repeat(64)}` },
      parameters: { targets: ['ctr', 'vm', 'dqd'], sources: 'packages' },
      installation: '0123456789abcdef',
      operation: { id: '01a20abc-a334-7434-a765-6745031c5573', ...times },
      key: await ensureSigningKey(keys),
    },
    [Symbol.asyncDispose]: () => rm(base, { recursive: true }),
  };
}

const readJson = async (path: string) => JSON.parse(await readFile(path, 'utf8'));

test('the evidence of an image holds, and names every file, both images, the pins and the recipe', async () => {
  await using made = await createMade();
  const { request } = made;
  await writeEvidence(request, signal);
  const statement = await verifyEvidence(request.directory, request.key.publicKey, signal);
  const subjects = Object.fromEntries(statement.subject.map(({ name, digest }) => [name, digest.sha256]));
  const images = {
    'ctr_buildkit-v0.20.2_v0.1.0': request.ctr.digest,
    'buildkit-v0.20.2_v0.1.0': request.dqd,
  };
  assert.deepEqual(Object.keys(subjects), [...files, sbomName, ...Object.keys(images)]);
  for (const [name, digest] of Object.entries(images)) assert.equal(`sha256:${subjects[name]}`, digest);
  const kernel = createHash('sha256').update('the kernel').digest('hex');
  assert.equal(subjects['kernel'], kernel);
  const { predicateType, predicate } = statement as unknown as {
    predicateType: string;
    predicate: { buildDefinition: { resolvedDependencies: unknown[] }; runDetails: { metadata: object } };
  };
  assert.equal(predicateType, 'https://slsa.dev/provenance/v1');
  // go.sum's h1:qIeR47eQ1tzI1rwz0on3Xx2enRw/1CKjFhoONVcTlMA=, in hexadecimal.
  const buildkit = {
    name: 'github.com/moby/buildkit',
    uri: 'pkg:golang/github.com/moby/buildkit@v0.20.2',
    digest: { dirHash: 'a88791e3b790d6dcc8d6bc33d289f75f1d9e9d1c3fd422a3161a0e35571394c0' },
  };
  const [first, runc, go, base, recipe] = predicate.buildDefinition.resolvedDependencies as {
    name: string;
  }[];
  assert.deepEqual(first, buildkit);
  assert.deepEqual(
    [runc, go, base, recipe].map((one) => one?.name),
    ['github.com/opencontainers/runc', 'golang.org/toolchain', 'base', 'images'],
  );
  assert.deepEqual(predicate.runDetails.metadata, {
    invocationId: 'urn:kiln:operation:01a20abc-a334-7434-a765-6745031c5573',
    startedOn: times.started,
    finishedOn: times.ended,
  });
});

test('a byte of any file that is another, and a file that is gone, is found', async () => {
  await using made = await createMade();
  const { directory, key } = made.request;
  await writeEvidence(made.request, signal);
  for (const name of [...files, sbomName, provenanceName]) {
    const path = join(directory, name);
    const bytes = await readFile(path);
    const changed = Buffer.from(bytes);
    const at = Math.floor(changed.length / 2);
    changed[at] = (changed[at] ?? 0) ^ 1;
    await writeFile(path, changed);
    await assert.rejects(
      verifyEvidence(directory, key.publicKey, signal),
      { code: 'EVIDENCE_INVALID' },
      name,
    );
    await rm(path);
    const message = name === provenanceName ? /There is no provenance/ : new RegExp(`${name} cannot be read`);
    await assert.rejects(verifyEvidence(directory, key.publicKey, signal), {
      code: 'EVIDENCE_INVALID',
      message,
    });
    await writeFile(path, bytes);
  }
  await verifyEvidence(directory, key.publicKey, signal);
});

test('the bill of materials has every Debian package, the pins and the modules of the programs, once each', async () => {
  await using made = await createMade();
  await writeEvidence(made.request, signal);
  const sbom = await readJson(join(made.request.directory, sbomName));
  assert.equal(sbom.spdxVersion, 'SPDX-2.3');
  assert.match(sbom.creationInfo.created, /^2026-01-02T03:14:05Z$/);
  const names: string[] = sbom.packages.map(({ name }: { name: string }) => name);
  for (const name of ['bash', 'github.com/moby/buildkit', 'golang.org/toolchain', 'oras.land/oras-go/v2'])
    assert.ok(names.includes(name), name);
  const ids = sbom.packages.map(({ SPDXID }: { SPDXID: string }) => SPDXID);
  assert.equal(new Set(ids).size, ids.length);
  assert.equal(sbom.relationships.length, ids.length);
  const bash = sbom.packages[names.indexOf('bash')];
  assert.match(bash.externalRefs[0].referenceLocator, /^pkg:deb\/debian\/bash@\S+\?arch=amd64$/);
});

test('a rebuild is compared with the image that serves: what differs and why, layers and programs too', async () => {
  await using one = await createMade();
  await using other = await createMade();
  const { key, directory } = one.request;
  const request = { ...other.request, key, version: 'v0.2.0' };
  const compare = () => compareImages({ before: directory, now: request.directory }, key.publicKey);
  await writeEvidence(one.request, signal);
  assert.deepEqual(await compare(), ['nothing is told of the image that serves now: not compared']);
  await writeFile(join(request.directory, 'disk.qcow2'), 'another disk');
  await writeFile(
    join(request.binaries, 'out', 'runc'),
    await readFile(program).then((go) => Buffer.concat([go, Buffer.from('x')])),
  );
  await writeEvidence({ ...request, ctr: one.request.ctr }, signal);
  const lines = await compare();
  const expected = [
    /^binary runc differs .* should not: /,
    /^disk\.qcow2 differs .* as it may: /,
    /^sbom\.spdx\.json differs /,
  ];
  assert.equal(lines.length, expected.length, lines.join('\n'));
  for (const [at, pattern] of expected.entries()) assert.match(lines[at] ?? '', pattern);
  await writeEvidence({ ...request, materials: {} }, signal);
  assert.match((await compare()).join(), /was made from other pins, or by another recipe: not compared$/);
});

test('the same rebuild is told of in the same bytes', async () => {
  await using made = await createMade();
  const read = async () => {
    await writeEvidence(made.request, signal);
    return Promise.all(
      [sbomName, provenanceName].map((name) => readFile(join(made.request.directory, name), 'utf8')),
    );
  };
  assert.deepEqual(await read(), await read());
});

test('evidence that holds stays as it was signed, also for a later operation; for other images, or damaged, it is made anew', async () => {
  await using made = await createMade();
  const { request } = made;
  const later = {
    id: '01a20abc-a334-7434-a765-000000000000',
    started: times.ended,
    ended: '2026-02-02T03:04:05.678Z',
  };
  assert.deepEqual(await ensureEvidence(request, signal), { created: times.ended });
  assert.deepEqual(await ensureEvidence({ ...request, operation: later }, signal), { created: times.ended });
  const other = { ...request, operation: later, dqd: `sha256:${'e'.repeat(64)}` };
  assert.deepEqual(await ensureEvidence(other, signal), { created: later.ended });
  await writeFile(join(request.directory, sbomName), '{}');
  assert.deepEqual(await ensureEvidence(request, signal), { created: times.ended });
  await verifyEvidence(request.directory, request.key.publicKey, signal);
});

test('whoever has a published image finds its evidence in the registry, by its digest, and can check it', async () => {
  await using made = await createMade();
  const { request } = made;
  await writeEvidence(request, signal);
  await using real = await startDockerRegistry();
  const registry = openTestRegistry({ program, host: real.host });
  const images = [{ kind: 'ctr', ...request.ctr }] as const;
  const say = (): void => undefined;
  const published = await publishImages(
    { entry: 'buildkit-v0.20.2', version: 'v0.1.0', images },
    { registry, say },
    signal,
  );
  const evidence = { directory: request.directory, created: times.ended };
  for (const _twice of [1, 2]) await attachEvidence(published, evidence, { registry, say, signal });
  const index = await getManifest(real.url, request.ctr.digest.replace(':', '-'));
  const { manifests } = index.body as { manifests: { artifactType: string; digest: string }[] };
  assert.deepEqual(
    manifests.map(({ artifactType }) => artifactType),
    ['application/spdx+json', 'application/vnd.in-toto+json'],
  );
  const { body } = await getManifest(real.url, manifests[1]?.digest ?? '');
  const { layers } = body as { layers: { digest: string }[] };
  const envelope = await fetch(`${real.url}/v2/archive/kiln/blobs/${layers[0]?.digest}`);
  const { subject } = readStatement(await envelope.text(), request.key.publicKey);
  assert.ok(subject.some(({ digest }) => `sha256:${digest.sha256}` === request.ctr.digest));
});

test('of two images of one version, as where an operation failed, each has its own evidence', async () => {
  await using one = await createMade();
  await using other = await createMade();
  const digests: string[] = [];
  for (const { request } of [one, other]) {
    const manifest = `the manifest in ${request.directory}`;
    await writeFile(join(request.directory, 'manifest.json'), manifest);
    digests.push(`sha256:${createHash('sha256').update(manifest).digest('hex')}`);
    await writeEvidence(request, signal);
  }
  const directories = [one, other].map(({ request }) => request.directory);
  for (const [at, directory] of directories.entries()) {
    const told = await readEvidence(directories, digests[at] ?? '', 'provenance');
    assert.equal(told, await readFile(join(directory, provenanceName), 'utf8'));
  }
  assert.equal(await readEvidence(directories, `sha256:${'0'.repeat(64)}`, 'sbom'), null);
});

test("of a derived entry the programs are told of as they are in its image, not as its base's were made", async () => {
  const base = await mkdtemp(join(tmpdir(), 'kiln-programs-'));
  await using undo = new AsyncDisposableStack();
  undo.defer(() => rm(base, { recursive: true }));
  const [root, layout] = [join(base, 'root'), join(base, 'layout')];
  await mkdir(join(root, 'usr/local/bin'), { recursive: true });
  await mkdir(layout);
  for (const name of ['buildkitd', 'buildctl', 'runc'])
    await writeFile(join(root, 'usr/local/bin', name), `another ${name}`);
  const tar = join(base, 'layer.tar');
  await run('tar', ['-cf', tar, '-C', root, '.']);
  const { digest } = await writeOciLayout({ tar, directory: layout, compression: 'zstd' }, signal);
  let left = '';
  {
    await using taken = await takePrograms({ layout, digest }, signal);
    left = taken.directory;
    assert.equal(await readFile(join(left, 'out/runc'), 'utf8'), 'another runc');
  }
  await assert.rejects(readFile(join(left, 'out/runc')), { code: 'ENOENT' });
  await rm(join(root, 'usr/local/bin/runc'));
  await run('tar', ['-cf', tar, '-C', root, '.']);
  const without = await writeOciLayout({ tar, directory: layout, compression: 'zstd' }, signal);
  await assert.rejects(takePrograms({ layout, digest: without.digest }, signal), {
    code: 'INFRA',
    message: /has no file usr\/local\/bin\/runc/,
  });
});
