import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Entry, listArchive } from '../../src/catalog/catalog.ts';
import { Fleet, type FleetOptions } from '../../src/fleet/fleet.ts';
import { parseKeptEntries } from '../../src/fleet/kept-entries.ts';
import { type ErrorCode, KilnError } from '../../src/model/error.ts';
import type { VmImage } from '../../src/model/vm-image.ts';
import type { CloneSource, TemplateSource } from '../../src/vm/template-source.ts';
import { createMemoryLogger } from '../builds/memory-logger.ts';
import { noImage } from '../images/no-image.ts';

const catalog = await listArchive(join(import.meta.dirname, '../../images'));
const signal = new AbortController().signal;
const [standard, other] = ['buildkit-v0.20.2', 'buildkit-v0.12.5'];

/** Images and templates that only count how often they are opened; real ones are in test/e2e. */
function createFleet(
  made: readonly string[],
  {
    failures = 0,
    taken,
    broken = {},
  }: { failures?: number; taken?: () => void; broken?: Record<string, () => never> } = {},
): {
  fleet: Fleet;
  opened: string[];
  keptTemplates: string[];
  logger: ReturnType<typeof createMemoryLogger>;
} {
  const logger = createMemoryLogger();
  const opened: string[] = [];
  let left = failures;
  let templates = 0;
  const keptTemplates: string[] = [];
  const keepTemplates: FleetOptions['keepTemplates'] = async (entry, keys) =>
    void keptTemplates.push(`${entry}: ${keys.join(' ')}`);
  const image = (entry: string) => async (): Promise<VmImage> => {
    opened.push(`image ${entry}`);
    broken[entry]?.();
    return { ...noImage(entry), versions: { buildkit: entry } };
  };
  const openTemplates: FleetOptions['openTemplates'] = async ({ name }, { image: from }) => {
    assert.equal(from.entry, name);
    opened.push(`template ${name}`);
    if (left-- > 0) throw new KilnError('INFRA', 'it did not boot');
    const take = async (): Promise<CloneSource> => {
      taken?.();
      return { template: { image: from } } as CloneSource;
    };
    templates += 1;
    const key = String(templates);
    const discard = async (): Promise<void> => void keptTemplates.push(`without ${key}`);
    return { take, key, discard } as unknown as TemplateSource;
  };
  const images = new Map(made.map((entry) => [entry, image(entry)] as const));
  return {
    fleet: new Fleet({
      catalog,
      standard,
      images,
      openTemplates,
      keepTemplates,
      logger,
      signal,
    }),
    opened,
    keptTemplates,
    logger,
  };
}

test('a build runs on the entry it asks for, by name or version, else on the standard one', () => {
  const { fleet } = createFleet([standard, other]);
  assert.equal(fleet.find(undefined).name, standard);
  assert.equal(fleet.find('v0.12.5').name, other);
  assert.equal(fleet.find(other).name, other);
});

test('an entry that nobody knows is told with the nearest; one that this host has not made with how it is made', async () => {
  const { fleet } = createFleet([standard]);
  assert.throws(() => fleet.find('v0.12.99'), { code: 'BUILDKIT_UNKNOWN', message: /buildkit-v0\.12\.5/ });
  assert.throws(() => fleet.find('v0.12.5'), {
    code: 'BUILDKIT_NOT_MADE',
    message: /POST \/admin\/images\/rebuild with \{"entry":"buildkit-v0\.12\.5"\}/,
  });
  const items = await fleet.list();
  const made = items.filter(({ image }) => image !== null);
  assert.deepEqual([items.length, made.map(({ entry }) => entry)], [catalog.length, [standard]]);
});

test('image and template are opened when they are first asked for, once for all who ask (simulated images)', async () => {
  const { fleet, opened } = createFleet([standard, other]);
  await Promise.all([fleet.summary('v0.12.5'), fleet.source(other, signal), fleet.source(other, signal)]);
  assert.deepEqual(opened, [`image ${other}`, `template ${other}`]);
  assert.deepEqual(await fleet.summary('v0.12.5'), {
    name: other,
    imageDigest: `sha256:${other}`,
    versions: { buildkit: other },
  });
});

test('a template that could not be made is tried again by the next who asks (simulated images)', async () => {
  const { fleet, opened } = createFleet([standard], { failures: 1 });
  await assert.rejects(fleet.source(standard, signal), { code: 'INFRA' });
  await fleet.source(standard, signal);
  assert.deepEqual(opened, [`image ${standard}`, `template ${standard}`, `template ${standard}`]);
});

test('an image that turns out to be damaged is opened anew by the next who asks, and so told of at the door (simulated images)', async () => {
  const taken = (): never => {
    throw new KilnError('IMAGE_CORRUPT', 'the disk is not what it was made as');
  };
  const { fleet, opened } = createFleet([standard], { taken });
  await fleet.summary(undefined);
  await assert.rejects(fleet.source(standard, signal), { code: 'IMAGE_CORRUPT' });
  await fleet.summary(undefined);
  assert.deepEqual(opened, [`image ${standard}`, `template ${standard}`, `image ${standard}`]);
});

test('the catalog shows an entry whose image is damaged without one, and all others as they are; any other failure is one (simulated images)', async () => {
  let code: ErrorCode = 'IMAGE_CORRUPT';
  const opened = (): never => {
    throw new KilnError(code, 'no image');
  };
  const { fleet, logger } = createFleet([standard, other], { broken: { [other]: opened } });
  const made = (await fleet.list()).filter(({ image }) => image !== null);
  assert.deepEqual(
    made.map(({ entry, image }) => [entry, image?.imageDigest]),
    [[standard, `sha256:${standard}`]],
  );
  assert.deepEqual(
    logger.said.map(({ message }) => message),
    ['no image'],
  );
  await assert.rejects(fleet.summary(other), { code: 'IMAGE_CORRUPT' });
  assert.equal(logger.said.length, 1);
  code = 'INFRA';
  await assert.rejects(fleet.list(), { code: 'INFRA' });
});

const kept = (...texts: string[]): [string, unknown][] => [
  ...parseKeptEntries(texts, catalog, { warm: 2, frozen: 3 }),
];

test('KILN_ENTRIES: entries in their order, with a number of warm VMs or the usual one', () => {
  assert.deepEqual(kept('v0.20.2', 'buildkit-v0.12.5=1', 'v0.10.6=0'), [
    [standard, { warm: 2, frozen: 3 }],
    [other, { warm: 1, frozen: 3 }],
    ['buildkit-v0.10.6', { warm: 0, frozen: 0 }],
  ]);
});

for (const [texts, message] of [
  [['v0.20.3'], /^KILN_ENTRIES: There is no archive entry v0\.20\.3; the nearest: buildkit-v0\.20\.2,/],
  [['v0.20.2', 'buildkit-v0.20.2=1'], /^KILN_ENTRIES: buildkit-v0\.20\.2 is named twice\.$/],
  [['v0.20.2=many'], /^KILN_ENTRIES: 'v0\.20\.2=many' is not an entry, or an entry=number\.$/],
  [['=1'], /'=1' is not an entry/],
] as const) {
  test(`KILN_ENTRIES=${texts.join(',')} is refused`, () => {
    assert.throws(() => kept(...texts), { code: 'CONFIG_INVALID', message });
  });
}

test('the entries of the catalog have names of their own', () => {
  const names = catalog.map(({ name }: Entry) => name);
  assert.equal(new Set(names).size, names.length);
});

test('an image that is served takes the place of the one before it, whose template is kept for the way back (simulated images)', async () => {
  const { fleet, keptTemplates } = createFleet([standard]);
  await fleet.open(standard);
  const image = { ...noImage(other), digest: 'sha256:new', versions: { buildkit: 'new' } };
  const templates = await fleet.tryOut(image, signal);
  assert.throws(() => fleet.find(other), { code: 'BUILDKIT_NOT_MADE' });
  const reopen = async (): Promise<VmImage> => image;
  await fleet.serve(image, templates, reopen);
  assert.equal((await fleet.summary(other)).imageDigest, 'sha256:new');
  assert.equal((await fleet.source(other, signal)).template.image, image);
  const next = { ...image, digest: 'sha256:next' };
  const last = await fleet.tryOut(next, signal);
  await fleet.serve(next, last, reopen);
  assert.equal((await fleet.source(other, signal)).template.image, next);
  await fleet.discard(other, last);
  await fleet.discard(other, await fleet.tryOut(next, signal));
  assert.deepEqual(keptTemplates, [`${standard}: 1`, `${other}: 2`, `${other}: 3 2`, 'without 4']);
});
