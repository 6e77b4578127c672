import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Staging } from './staging.ts';
import { fifo, file, folder, symlink, tar } from './tar.ts';

const policy = { customFrontends: false };
const archive = tar(
  folder('proj/'),
  file('proj/Dockerfile', 'FROM scratch\n'),
  file('proj/docker/D', 'FROM scratch\n'),
  file('proj/.dockerignore', 'a'),
  file('.dockerignore', '['),
  file('outer', 'FROM scratch\n'),
  symlink('proj/out', '../outer'),
  symlink('proj/up', '..'),
  symlink('link', 'proj/./docker/..'),
  symlink('away', '/etc'),
  symlink('circle', 'circle'),
  fifo('fifo'),
);

const taken: readonly (readonly [contextDir: string, directory: string, dockerfile: string | null])[] = [
  ['proj', 'proj', 'Dockerfile'],
  ['./proj//', 'proj', 'Dockerfile'],
  ['proj/docker', 'proj/docker', 'D'],
  ['proj', 'proj', './docker/D'],
  ['link', 'proj', 'Dockerfile'],
  ['proj/up/proj', 'proj', 'Dockerfile'],
  ['proj', 'proj', null],
];
for (const [contextDir, directory, dockerfile] of taken) {
  test(`context-dir=${contextDir} is the folder '${directory}', with its own Dockerfile ${dockerfile} and .dockerignore`, async () => {
    await using staging = await Staging.create();
    await using staged = await staging.stage(archive);
    await using sealed = await staged.seal({ dockerfile, contextDir }, policy);
    assert.equal(sealed.directory, `context/${directory}`);
  });
}

for (const contextDir of [
  'none',
  'proj/Dockerfile',
  'away',
  'circle',
  'proj/up/..',
  '..',
  'fifo',
  'proj/out',
]) {
  test(`context-dir=${contextDir}, no folder of the archive, is refused`, async () => {
    await using staging = await Staging.create();
    await using staged = await staging.stage(archive);
    const sealed = staged.seal({ dockerfile: 'Dockerfile', contextDir }, policy);
    await assert.rejects(sealed, { code: 'PARAM_INVALID', message: /^There is no folder '/ });
    assert.deepEqual(await staging.files(), []);
  });
}

test('no Dockerfile outside of context-dir is used', async () => {
  await using staging = await Staging.create();
  for (const dockerfile of ['out', 'up/outer', '../outer', 'outer']) {
    await using staged = await staging.stage(archive);
    const sealed = staged.seal({ dockerfile, contextDir: 'proj' }, policy);
    await assert.rejects(sealed, { code: 'DOCKERFILE_MISSING' });
  }
});

test('without context-dir the whole archive is the context', async () => {
  await using staging = await Staging.create();
  await using staged = await staging.stage(archive);
  await assert.rejects(staged.seal({ dockerfile: 'outer' }, policy), { code: 'DOCKERIGNORE_INVALID' });
});
