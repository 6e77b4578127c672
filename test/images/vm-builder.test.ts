import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { test } from 'node:test';
import { pack } from 'tar-stream';
import { createVmBuilder } from '../../src/images/vm-builder.ts';
import type { BuildRecord } from '../../src/model/build.ts';
import type { BuildRequest } from '../../src/model/builds.ts';
import { localAdmin } from '../../src/model/caller.ts';
import { imageRequest } from './image-request.ts';

type Ends = { readonly state: BuildRecord['state']; readonly message: string };
type Client = Parameters<typeof createVmBuilder>[0];

const ubuntu = `sha256:${'1'.repeat(64)}`;

/** Builds that end as they are told to, and put out this tar; what was staged, asked and left is noted. */
function simulateBuilds(artifact: string, ends: Ends) {
  const noted = { staged: [] as string[], asked: [] as BuildRequest[], left: 0 };
  const record = { id: 'a-build', entry: { name: 'buildkit-v0.20.2' } };
  const builds = {
    stageContexts: async () => ({
      async add(name: string | null, { bytes }: { bytes: AsyncIterable<Buffer> }) {
        let size = 0;
        for await (const part of bytes) size += part.length;
        noted.staged.push(`${name ?? 'context'} ${size > 0 ? 'came' : 'is empty'}`);
      },
      [Symbol.asyncDispose]: async () => undefined,
    }),
    start: async (_caller: unknown, request: BuildRequest) => {
      noted.asked.push(request);
      return record;
    },
    attend: () => ({
      async [Symbol.asyncDispose]() {
        noted.left += 1;
      },
    }),
    watch: async () =>
      (async function* () {
        yield { kind: 'log', attempt: 1, offset: 0, data: Buffer.from('#1 built\n') };
        for (const name of ['[internal] load build definition', `[1/1] FROM ubuntu:24.04@${ubuntu}`])
          yield { kind: 'event', offset: 0, event: { type: 'status', status: { vertexes: [{ name }] } } };
      })(),
    get: async () => ({ ...record, state: ends.state, verdict: { message: ends.message } }),
    artifact: async () => ({ path: artifact }),
  };
  return { noted, builds: builds as unknown as Client['builds'] };
}

async function withBuilder(
  ends: Ends,
  work: (given: {
    builder: ReturnType<typeof createVmBuilder>;
    noted: ReturnType<typeof simulateBuilds>['noted'];
    directory: string;
    printed: () => string;
  }) => Promise<void>,
): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'kiln-vm-builder-'));
  try {
    await mkdir(join(directory, 'images'));
    await mkdir(join(directory, 'ctr'));
    const archive = pack();
    archive.entry({ name: 'kernel' }, 'the kernel');
    archive.finalize();
    await writeFile(join(directory, 'artifact'), await buffer(archive));
    const { builds, noted } = simulateBuilds(join(directory, 'artifact'), ends);
    let printed = '';
    const request = imageRequest({
      ...{ cacheDirectory: directory, imagesDirectory: join(directory, 'images') },
      output: async (bytes) => {
        printed += bytes.toString();
      },
    });
    const builder = createVmBuilder({ builds, caller: localAdmin, maxSeconds: 3000 }, request);
    await work({ builder, noted, directory, printed: () => printed });
  } finally {
    await rm(directory, { recursive: true });
  }
}

test("a target is a build like any other: contexts are uploads, its log is the step's, its artifact the image (simulated builds)", () =>
  withBuilder({ state: 'succeeded', message: '' }, async ({ builder, noted, directory, printed }) => {
    const out = join(directory, 'out');
    await builder.build({
      ...{ target: 'vm', own: null },
      contexts: [{ stage: 'made-ctr', kind: 'layout', path: join(directory, 'ctr'), digest: 'sha256:x' }],
      args: { BASE_IMAGE: 'ubuntu' },
      output: { kind: 'files', directory: out, names: ['kernel'] },
    });
    assert.deepEqual(noted.staged, ['context came', 'made-ctr came']);
    const [asked] = noted.asked;
    assert.deepEqual(
      [asked?.spec.target, asked?.spec.outputs[0]?.type, asked?.spec.buildArgs, asked?.spec.builtinFrontend],
      ['vm', 'local', { BASE_IMAGE: 'ubuntu' }, true],
    );
    // No more than this service lets a build ask for, and silence is no fault.
    assert.deepEqual([asked?.spec.timeoutSeconds, asked?.spec.noOutputTimeoutSeconds], [3000, 3000]);
    assert.equal(await readFile(join(out, 'kernel'), 'utf8'), 'the kernel');
    assert.deepEqual(await readdir(out), ['kernel']);
    assert.equal(printed(), '#1 built\n');
    // Leaving a build that has ended cancels nothing.
    assert.equal(noted.left, 1);
  }));

test('a build that fails is the step that fails; an image that cannot be had is said why (simulated builds)', () =>
  withBuilder({ state: 'failed', message: 'no such image' }, async ({ builder, noted, directory }) => {
    const output = { kind: 'files', directory, names: ['kernel'] } as const;
    await assert.rejects(builder.build({ target: 'ctr', own: null, contexts: [], args: {}, output }), {
      code: 'INFRA',
      message: 'Build a-build of ctr failed: no such image',
    });
    assert.deepEqual(await builder.lookUp('ubuntu:24.04'), { why: 'no such image' });
    assert.equal(noted.asked[1]?.dockerfile?.toString(), 'FROM ubuntu:24.04\n');
  }));

test('the digest of an image is what its build says that FROM was resolved to; images of registries are named, not sent (simulated builds)', () =>
  withBuilder({ state: 'succeeded', message: '' }, async ({ builder, noted, directory }) => {
    assert.deepEqual(await builder.lookUp('ubuntu:24.04'), { digest: ubuntu });
    const contexts = [
      { stage: 'archive:ctr_x', kind: 'remote', reference: `archive:ctr_x@${ubuntu}` },
    ] as const;
    const output = { kind: 'files', directory: join(directory, 'out'), names: ['kernel'] } as const;
    await builder.build({ target: 'vm', own: null, contexts, args: {}, output });
    assert.deepEqual(noted.staged, ['context came']);
    assert.deepEqual(noted.asked[1]?.spec.buildContexts, {
      'archive:ctr_x': `docker-image://archive:ctr_x@${ubuntu}`,
    });
  }));

test('a disk that is none is not taken out of a VM (simulated builds)', () =>
  withBuilder({ state: 'succeeded', message: '' }, async ({ builder, directory }) => {
    const archive = pack();
    archive.entry({ name: 'disk.qcow2' }, 'of another kind');
    archive.finalize();
    await writeFile(join(directory, 'artifact'), await buffer(archive));
    const output = { kind: 'files', directory, names: ['disk.qcow2'] } as const;
    await assert.rejects(builder.build({ target: 'vm', own: null, contexts: [], args: {}, output }), {
      code: 'ARTIFACT_INVALID',
    });
  }));
