import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { type DecoderPermit, Decoders } from '../../src/context/compression/decoders.ts';
import type { KilnError } from '../../src/model/error.ts';
import { compress, installCompressors } from './compress.ts';
import { inChunks, type StagedContext, Staging, stageContext } from './staging.ts';

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

test('of those that take long, half of the decoders may be held while others wait: the one that is long for the shortest time gives way', async () => {
  const decoders = new Decoders({ size: 2, shortMs: 30 });
  const [first, second] = [await decoders.enter(never), await decoders.enter(never)];
  await setTimeout(40);
  assert.deepEqual([first.signal.aborted, second.signal.aborted], [false, false], 'nobody waits');
  const third = decoders.enter(never);
  assert.equal(first.signal.aborted, false);
  assert.match(String(second.signal.reason), /takes longer than 0.03 s/);
  assert.equal((second.signal.reason as KilnError).code, 'NO_CAPACITY');
  second[Symbol.dispose]();
  using _third = await third;
  first[Symbol.dispose]();
});

test('who becomes long while somebody waits gives way as well, and what was given back counts no more', async () => {
  const decoders = new Decoders({ size: 2, shortMs: 30 });
  const [first, second] = [await decoders.enter(never), await decoders.enter(never)];
  const third = decoders.enter(never);
  await setTimeout(40);
  assert.deepEqual([first.signal.aborted, second.signal.aborted], [false, true]);
  first[Symbol.dispose]();
  using waited = await third;
  await setTimeout(40);
  assert.equal(waited.signal.aborted, false);
  second[Symbol.dispose]();
});

/** Where whoever has a decoder has taken long, and somebody waits, before anything is unpacked. */
class ImpatientDecoders extends Decoders {
  readonly next = Promise.withResolvers<DecoderPermit>();

  constructor() {
    super({ size: 1, shortMs: 0 });
  }

  override async enter(signal: AbortSignal): Promise<DecoderPermit> {
    const permit = await super.enter(signal);
    await setTimeout(5);
    this.next.resolve(super.enter(signal));
    return permit;
  }
}

for (const tool of ['xz', 'bzip2', 'zstd']) {
  test(`an upload of ${tool} that must give way is told to come again, and leaves nothing`, async () => {
    await using staging = await Staging.create();
    const decoders = new ImpatientDecoders();
    const long = stage(staging, decoders, inChunks(await compress(tool)));
    await assert.rejects(long, { code: 'NO_CAPACITY', details: { retryAfterSeconds: 10 } });
    using _next = await decoders.next.promise;
    assert.deepEqual(await staging.files(), []);
  });
}

function stage(
  { directory }: Staging,
  decoders: Decoders,
  bytes: AsyncIterable<Buffer>,
  signal: AbortSignal = never,
): Promise<StagedContext> {
  const limits = { maxBytes: 1e6, maxUploadBytes: 1e6, maxEntries: 1000 };
  return stageContext({ bytes, declared: null }, { directory, minFreeBytes: 0, decoders, signal, limits });
}
