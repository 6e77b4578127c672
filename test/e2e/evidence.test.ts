import assert from 'node:assert/strict';
import { test } from 'node:test';
import { localAdmin } from '../../src/model/caller.ts';
import { build, startForFile } from './harness.ts';

const { service } = await startForFile();

/** What a build's events say that its steps printed. */
async function printedBy(id: string): Promise<string> {
  const events = await (await fetch(`${service.httpUrl}/v1/builds/${id}/events`)).text();
  const logs = events
    .trimEnd()
    .split('\n')
    .flatMap((line): { data: string }[] => JSON.parse(line).status?.logs ?? []);
  return logs.map(({ data }) => Buffer.from(data, 'base64').toString()).join('');
}

test('a build that prints a million lines at once succeeds, and its log is whole', async () => {
  const lines = 1_000_000;
  const { exit, body, id } = await build(service, { Dockerfile: `FROM busybox\nRUN seq 1 ${lines}\n` });
  assert.equal(exit, 0, body.slice(-1000));
  const log = await (await fetch(`${service.httpUrl}/v1/builds/${id}/log`)).text();
  assert.match(log.slice(-200), /\n#\d+ [\d.]+ 1000000\n#\d+ DONE [\d.]+s\n$/);
  const wanted = Array.from({ length: lines }, (_, index) => `${index + 1}\n`).join('');
  assert.ok((await printedBy(id)) === wanted, 'the events have every line once');
  assert.equal((await service.builds.get(localAdmin, id)).verdict?.exitCode, 0);
});

test('a frontend that cannot be pulled is named in the last line; builtin-frontend=true builds without it, and says so', async () => {
  const files = { Dockerfile: '# syntax=docker/dockerfile:1\nFROM scratch\nCOPY Dockerfile /\n' };
  const failed = await build(service, files);
  assert.equal(failed.exit, 18);
  assert.match(
    failed.body.trimEnd().split('\n').at(-1) ?? '',
    /^kiln: build \S+ failed after .*: buildctl exited with 1: the frontend docker\.io\/docker\/dockerfile:1, .*KILN_REGISTRY_MIRRORS/,
  );
  const { exit, body, id } = await build(service, files, 'builtin-frontend=true');
  assert.equal(exit, 0, body);
  const { warnings } = await service.builds.get(localAdmin, id);
  assert.match(warnings.join(), /^The frontend 'docker\/dockerfile:1' that this build asks for is not used/);
  assert.ok(body.startsWith(`kiln: warning: ${warnings[0]}\n`), body);
});
