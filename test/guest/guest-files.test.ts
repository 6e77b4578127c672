import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { capabilitiesOf } from '../../src/catalog/capabilities.ts';
import type { Version } from '../../src/catalog/version.ts';
import { readGuestFiles } from '../../src/guest/guest-files.ts';
import type { StepNetwork } from '../../src/model/build.ts';

async function readFiles(
  version: Version,
  { stepNetwork = 'bridge', authorities = [] }: { stepNetwork?: StepNetwork; authorities?: string[] },
): Promise<Map<string, string>> {
  const networkPrograms = await mkdtemp(join(tmpdir(), 'kiln-programs-'));
  try {
    for (const name of ['relay', 'bridge', 'loopback', 'host-local'])
      await writeFile(join(networkPrograms, name), '');
    const capabilities = capabilitiesOf(version);
    const guest = { registryConfig: '', networkPrograms, authorities, capabilities, stepNetwork };
    const files = await readGuestFiles(guest);
    return new Map(files.map(({ path, content }) => [path, String(content)]));
  } finally {
    await rm(networkPrograms, { recursive: true });
  }
}

test('steps have networks of their own, made ahead where the BuildKit can; or that of their VM, with none ahead', async () => {
  const said = async (version: Version, stepNetwork: StepNetwork): Promise<(string | undefined)[]> => {
    const config = (await readFiles(version, { stepNetwork })).get('/etc/buildkit/buildkitd.toml') ?? '';
    return [/networkMode = "(\w+)"/.exec(config)?.[1], /cniPoolSize = (\d+)/.exec(config)?.[1]];
  };
  assert.deepEqual(await said([0, 20, 2], 'bridge'), ['cni', '4']);
  assert.deepEqual(await said([0, 10, 6], 'bridge'), ['cni', undefined]);
  assert.deepEqual(await said([0, 20, 2], 'vm'), ['host', undefined]);
});

test('each authority is a file of its own, where update-ca-certificates looks; without any there is none', async () => {
  const told = async (authorities: string[]): Promise<string[][]> =>
    [...(await readFiles([0, 20, 2], { authorities }))].filter(([path]) => path.endsWith('.crt'));
  assert.deepEqual(await told([]), []);
  const folder = '/usr/local/share/ca-certificates/kiln';
  assert.deepEqual(await told(['one', 'two']), [
    [`${folder}/0.crt`, 'one'],
    [`${folder}/1.crt`, 'two'],
  ]);
});
