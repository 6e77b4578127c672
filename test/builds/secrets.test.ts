import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { keepInput } from '../../src/builds/build-input.ts';
import { createBuildFiles } from '../../src/logs/build-files.ts';
import { BuildSecrets } from '../../src/model/build-secrets.ts';
import type { Builds } from '../../src/model/builds.ts';
import { localAdmin } from '../../src/model/caller.ts';
import { parseSpec } from '../../src/model/spec.ts';
import { generateKeyPair } from '../../src/ssh/keys.ts';
import { createFolder, queuedRecord } from '../store/harness.ts';
import { startDurable } from './durable-service.ts';
import type { Guest, Script } from './simulated-vms.ts';

const { signal } = new AbortController();
const value = 'correct-horse-battery-staple';
const key = generateKeyPair().privateKey;
const secrets = BuildSecrets.of({
  accounts: { 'r.test': { auth: Buffer.from(`me:${value}`).toString('base64') } },
  secrets: [{ id: 'npm', value: Buffer.from(value) }],
  sshKeys: [{ id: 'default', value: Buffer.from(key) }],
});
const hang: Script = (guest) => guest.log('#1 first\n');

async function start(builds: Builds, given: BuildSecrets = secrets): Promise<string> {
  const request = { spec: parseSpec({}), context: null, dockerfile: Buffer.from('FROM a\n'), secrets: given };
  return (await builds.start(localAdmin, request)).id;
}

async function follow(builds: Builds, id: string): Promise<void> {
  const all = { logOffset: 0, eventOffset: 0, follow: true, signal };
  await Array.fromAsync(await builds.watch(localAdmin, id, all));
}

/** What is in every file below a folder. */
async function readAll(folder: string): Promise<Buffer> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  return Buffer.concat(
    await Promise.all(files.map(({ parentPath, name }) => readFile(join(parentPath, name)))),
  );
}

test('the guest is given them as files of its own on each attempt, and no file of kiln has them (simulated VMs)', async () => {
  await using folder = await createFolder();
  const seen: Guest[] = [];
  const script: Script = (guest) => {
    seen.push(guest);
    if (seen.length === 1) guest.lose();
    else guest.end();
  };
  const service = await startDurable(folder.path, { script });
  const id = await start(service.builds);
  await follow(service.builds, id);
  const record = await service.builds.get(localAdmin, id);
  assert.deepEqual([record.state, record.secrets], ['succeeded', secrets.names]);
  assert.equal(seen.length, 2);
  for (const { input } of seen) {
    const text = input.toString();
    assert.ok(text.startsWith('-\n-\n7\n3\nFROM a\nconfig.json '), text.slice(0, 60));

    assert.ok(text.includes(`}}secret-1 ${value.length}\n${value}`));
    assert.ok(text.includes(`ssh-1 ${key.length}\n${key}build\0`));
    const words = text.split('\0');
    assert.ok(words.includes('--secret=id=npm,src=/run/kiln-secrets/secret-1'));
    assert.ok(words.includes('--ssh=default=/run/kiln-secrets/ssh-1'));
  }
  await service.stop();
  const written = (await readAll(folder.path)).toString('latin1');
  const auth = Buffer.from(`me:${value}`).toString('base64');
  for (const form of [value, auth, key.split('\n')[2] ?? '']) assert.ok(!written.includes(form));
});

test('a build with secrets ends as interrupted when the service stops, whether it waits or runs; another goes on (simulated VMs)', async () => {
  await using folder = await createFolder();
  const first = await startDurable(folder.path, { script: hang, vms: 1 });
  const ran = await start(first.builds);
  while ((await first.builds.get(localAdmin, ran)).attempts.length === 0)
    await new Promise((resolve) => setTimeout(resolve, 10));
  const waited = await start(first.builds);
  const plain = await start(first.builds, BuildSecrets.none);
  await first.stop();
  const second = await startDurable(folder.path, { script: (guest) => guest.end() });
  for (const id of [ran, waited]) {
    const { state, verdict } = await second.builds.get(localAdmin, id);
    assert.deepEqual([state, verdict?.code], ['interrupted', 'SECRETS_LOST']);
    assert.match(verdict?.message ?? '', /send it again/);
  }
  await follow(second.builds, plain);
  assert.equal((await second.builds.get(localAdmin, plain)).state, 'succeeded');
  await second.stop();
});

test('one that a crash of the service left ends so at the next start, whatever else of it is there (simulated VMs)', async () => {
  await using folder = await createFolder();
  const first = await startDurable(folder.path, { script: hang });
  const record = queuedRecord({ secrets: secrets.names });
  const directory = join(first.buildsDirectory, record.id);
  const { log, events } = await createBuildFiles(directory);
  await Promise.all([log.end(), events.end()]);
  await keepInput(directory, { context: null, sources: {}, dockerfile: Buffer.from('FROM a\n') });
  await first.store.insert(record);
  await first.stop();
  const second = await startDurable(folder.path, { script: hang });
  const { state, verdict } = await second.builds.get(localAdmin, record.id);
  assert.deepEqual([state, verdict?.code], ['interrupted', 'SECRETS_LOST']);
  await second.stop();
});
