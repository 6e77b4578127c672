import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Decoders } from '../../src/context/compression/decoders.ts';
import { stageContext } from '../../src/context/stage-context.ts';
import { compress, installCompressors } from './compress.ts';
import { inChunks, Staging } from './staging.ts';

await installCompressors();

for (const tool of ['xz', 'bzip2', 'zstd']) {
  test(`uploads of ${tool} at once are bounded: one more is told to come again, until another's sender goes or it ends`, async () => {
    await using staging = await Staging.create();
    const made = await compress(tool);
    const decoders = new Decoders({ size: 1, waitMs: 20 });
    const stage = (bytes: AsyncIterable<Buffer>, signal = new AbortController().signal) =>
      stageContext(
        { bytes, declared: null },
        {
          ...{ directory: staging.directory, minFreeBytes: 0, decoders, signal },
          limits: { maxBytes: 1e6, maxUploadBytes: 1e6, maxEntries: 1000 },
        },
      );
    const gone = new AbortController();
    const stalls = Promise.withResolvers<void>();
    async function* stalled(): AsyncGenerator<Buffer> {
      // By its second read an upload has its decoder.
      yield made.subarray(0, 1000);
      stalls.resolve();
      await new Promise(() => undefined);
    }
    const first = stage(stalled(), gone.signal);
    first.catch(() => undefined);
    await Promise.race([stalls.promise, first]);
    const full = { code: 'NO_CAPACITY', details: { retryAfterSeconds: 10 } };
    await assert.rejects(stage(inChunks(made)), full);
    await using _gzip = await stage(inChunks(await compress('gzip')));
    gone.abort(new Error('gone'));
    await assert.rejects(first, /gone/);
    for (let upload = 0; upload < 2; upload += 1) {
      await using _staged = await stage(inChunks(made));
      await assert.rejects(stage(inChunks(made.subarray(0, -1))), { code: 'ARCHIVE_TRUNCATED' });
    }
  });
}
