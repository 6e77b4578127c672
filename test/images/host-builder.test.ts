import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { readLayers } from '../../src/evidence/layout-file.ts';
import { openHostBuilder } from '../../src/images/host-builder.ts';
import type { ImageBuilder, TargetBuild } from '../../src/images/image-builder.ts';
import { readLayoutDigest } from '../../src/images/oci-layout.ts';
import { runTool } from '../../src/lib/process/run-tool.ts';
import { type DockerRegistry, startDockerRegistry } from '../docker-registry.ts';
import { installTools } from '../install-tools.ts';
import { imageRequest } from './image-request.ts';

/** A real buildkitd on this machine, and a real registry. */
const { signal } = new AbortController();
const reference = () => `${registry.host}/archive:ctr_buildkit-v0.20.2_v0.1.0`;

let directory: string;
let registry: DockerRegistry;
let builder: ImageBuilder;
/** Of an image that is in the registry and in this layout. */
let layout: string;
let digest: string;

before(async () => {
  await installTools([{ find: 'skopeo', package: 'skopeo' }]);
  directory = await mkdtemp(join(tmpdir(), 'kiln-host-builder-'));
  registry = await startDockerRegistry();
  const cacheDirectory = join(directory, 'cache');
  await mkdir(cacheDirectory);
  const request = imageRequest({
    ...{ cacheDirectory, imagesDirectory: join(import.meta.dirname, '../../images') },
    // BuildKit itself is that of this machine's images; it is made here where there is none.
    sharedCacheDirectory: '/var/cache/kiln',
    // Nothing is the same because it was there already.
    noCache: true,
  });
  builder = await openHostBuilder(request, 'ctr');
  layout = join(directory, 'first');
  await builder.build(await dockerfile('first', 'FROM scratch\nCOPY Dockerfile /\n', { layout }));
  digest = await readLayoutDigest(layout);
  const copy = ['copy', '--insecure-policy', '--dest-tls-verify=false', `oci:${layout}`];
  await runTool('skopeo', [...copy, `docker://${reference()}`], signal);
});
after(async () => {
  await builder[Symbol.asyncDispose]();
  await registry[Symbol.asyncDispose]();
  await rm(directory, { recursive: true });
});

async function dockerfile(
  name: string,
  text: string,
  given: { layout: string; contexts?: TargetBuild['contexts'] },
): Promise<TargetBuild> {
  const own = join(directory, `${name}-folder`);
  await mkdir(own, { recursive: true });
  await writeFile(join(own, 'Dockerfile'), text);
  const { contexts = [] } = given;
  return {
    ...{ target: 'ctr', own, contexts, args: { SOURCE_DATE_EPOCH: '1735689600' } },
    output: { kind: 'layout', directory: given.layout, compression: 'gzip' },
  };
}

test('an image of a registry is told by the digest that it has there; one that is not there by why', async () => {
  assert.deepEqual(await builder.lookUp(reference()), { digest });
  const missing = await builder.lookUp(`${registry.host}/archive:none`);
  assert.match('why' in missing ? missing.why : '', /not found/);
});

test('a Dockerfile goes on from a layout, or from an image of a registry by its digest, under the name that it has there', async () => {
  const exact = `${reference()}@${digest}`;
  const ways: readonly [string, TargetBuild['contexts'][number]][] = [
    ['ctr_buildkit-v0.20.2', { stage: 'ctr_buildkit-v0.20.2', kind: 'layout', path: layout, digest }],
    [reference(), { stage: reference(), kind: 'remote', reference: exact }],
  ];
  for (const [index, [from, context]] of ways.entries()) {
    const made = join(directory, `made-${index}`);
    const text = `FROM ${from}\nCOPY Dockerfile /again\n`;
    await builder.build(await dockerfile(`way-${index}`, text, { layout: made, contexts: [context] }));
    const layers = await readLayers({ layout: made, digest: await readLayoutDigest(made) });
    assert.equal(layers.length, 2);
  }
});

test('the same folder makes the same image, by its digest, whenever its files were written', async () => {
  const make = async (index: number): Promise<string> => {
    const made = join(directory, `same-${index}`);
    const context = { stage: 'ctr_x', kind: 'layout', path: layout, digest } as const;
    const text = 'FROM ctr_x\nCOPY Dockerfile /again\nWORKDIR /there\n';
    await builder.build(await dockerfile(`same-${index}`, text, { layout: made, contexts: [context] }));
    return readLayoutDigest(made);
  };
  assert.equal(await make(1), await make(2));
});
