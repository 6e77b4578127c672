import assert from 'node:assert/strict';
import { test } from 'node:test';
import { localAdmin } from '../../src/model/caller.ts';
import { parseSpec } from '../../src/model/spec.ts';
import { createFolder } from '../store/harness.ts';
import { startDurable } from './durable-service.ts';

const origin = {
  requestId: 'ci-4711',
  traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
};
const request = { spec: parseSpec({}), context: null, dockerfile: Buffer.from('FROM scratch\n') };

test('the id of its request stands in every line of the log about a build, and in its record after a restart (simulated VMs)', async () => {
  await using folder = await createFolder();
  const first = await startDurable(folder.path, { script: (guest) => guest.lose() });
  const { id } = await first.builds.start(localAdmin, { ...request, origin });
  const { signal } = new AbortController();
  for await (const _event of await first.builds.events(localAdmin, id, { offset: 0, follow: true, signal }));
  await first.stop();
  const lines = first.logger.said.filter(({ fields }) => 'build' in fields && fields.build === id);
  assert.deepEqual(
    lines.map(({ message, fields }) => [message, 'requestId' in fields && fields.requestId]),
    [
      ['a build lost its VM and is run once more', 'ci-4711'],
      ['a build failed by our fault', 'ci-4711'],
      ['build ended', 'ci-4711'],
    ],
  );
  const second = await startDurable(folder.path, { script: (guest) => guest.end() });
  const { requestId, traceparent } = await second.builds.get(localAdmin, id);
  assert.deepEqual({ requestId, traceparent }, origin);
  await second.stop();
});
