import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Decoders } from '../../src/context/compression/decoders.ts';
import { stageContext } from '../../src/context/stage-context.ts';
import type { StagedContext } from '../../src/model/context.ts';
import { compress, installCompressors } from './compress.ts';
import { inChunks, Staging } from './staging.ts';

await installCompressors();

const { signal: never } = new AbortController();

for (const tool of ['xz', 'bzip2', 'zstd']) {
  test(`an upload of ${tool} whose sender crawls has no decoder: others are unpacked meanwhile`, async () => {
    await using staging = await Staging.create();
    const made = await compress(tool);
    const decoders = new Decoders({ size: 1 });
    const gone = new AbortController();
    const stalls = Promise.withResolvers<void>();
    async function* stalled(): AsyncGenerator<Buffer> {
      yield made.subarray(0, -1);
      stalls.resolve();
      await new Promise(() => undefined);
    }
    const crawling = stage(staging, decoders, stalled(), gone.signal);
    crawling.catch(() => undefined);
    await Promise.race([stalls.promise, crawling]);
    await using _other = await stage(staging, decoders, inChunks(made));
    gone.abort(new Error('gone'));
    await assert.rejects(crawling, /gone/);
  });

  test(`uploads of ${tool} that are unpacked at once are bounded: one more waits, and is told to come again in the end`, async () => {
    await using staging = await Staging.create();
    const made = await compress(tool);
    const decoders = new Decoders({ size: 1, waitMs: 20 });
    {
      using _permit = await decoders.enter(never);
      const full = { code: 'NO_CAPACITY', details: { retryAfterSeconds: 10 } };
      await assert.rejects(stage(staging, decoders, inChunks(made)), full);
      await using _gzip = await stage(staging, decoders, inChunks(await compress('gzip')));
    }
    for (let upload = 0; upload < 2; upload += 1) {
      await using _staged = await stage(staging, decoders, inChunks(made));
      await assert.rejects(stage(staging, decoders, inChunks(made.subarray(0, -1))), {
        code: 'ARCHIVE_TRUNCATED',
      });
    }
    assert.deepEqual(await staging.files(), []);
  });
}

test('who goes away while it waits for a decoder leaves nothing, and the next in line has it', async () => {
  await using staging = await Staging.create();
  const made = await compress('xz');
  const decoders = new Decoders({ size: 1 });
  const gone = new AbortController();
  const permit = await decoders.enter(never);
  const first = stage(staging, decoders, inChunks(made), gone.signal);
  const second = stage(staging, decoders, inChunks(made));
  gone.abort(new Error('gone'));
  await assert.rejects(first, /gone/);
  permit[Symbol.dispose]();
  {
    await using _staged = await second;
    assert.equal((await staging.files()).length, 1);
  }
  assert.deepEqual(await staging.files(), []);
});

function stage(
  { directory }: Staging,
  decoders: Decoders,
  bytes: AsyncIterable<Buffer>,
  signal: AbortSignal = never,
): Promise<StagedContext> {
  const limits = { maxBytes: 1e6, maxUploadBytes: 1e6, maxEntries: 1000 };
  return stageContext({ bytes, declared: null }, { directory, minFreeBytes: 0, decoders, signal, limits });
}
