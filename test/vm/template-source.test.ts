import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { SealedFiles } from '../../src/lib/sealed-files.ts';
import { KilnError } from '../../src/model/error.ts';
import { createProcessLauncher } from '../../src/vm/process-launcher.ts';
import { emulatedProcessor, kvmProcessors, type Processor } from '../../src/vm/qemu-arguments.ts';
import { type Template, templateFiles } from '../../src/vm/template.ts';
import { readHostProcessor, templateKey } from '../../src/vm/template-key.ts';
import { TemplateSource } from '../../src/vm/template-source.ts';
import { heapBytes } from '../heap-bytes.ts';
import { noImage } from '../images/no-image.ts';

const { signal } = new AbortController();

type Part = 'image' | 'template';
type Harness = AsyncDisposable & {
  readonly source: TemplateSource;
  /** What was done, in order. */
  readonly log: string[];
  /** The keys of the templates of the next VMs. */
  keys(count: number): Promise<string[]>;
};

/** A source over two real files, an image and a template that only look so, unless the template was just made. */
async function createSource({ made, damaged }: { made?: true; damaged?: Part } = {}): Promise<Harness> {
  const directory = await mkdtemp(join(tmpdir(), 'kiln-template-'));
  const [image, template] = await Promise.all([
    sealFile(directory, 'image', { damaged: damaged === 'image', checked: false }),
    sealFile(directory, 'template', { damaged: damaged === 'template', checked: made === true }),
  ]);
  const log: string[] = [];
  const write = (_fields: object, message: string): void => void log.push(message);
  const of = (key: string, sealed: SealedFiles): Template => ({
    ...{ key, sealed, image: { ...noImage('none'), disk: join(directory, 'image'), sealed: image } },
    ...{ authorizedKey: '', hostKey: '', files: templateFiles(join(directory, key)) },
  });
  const source = new TemplateSource(of('first', template), {
    steps: {
      discard: async ({ key }) => void log.push(`discarded ${key}`),
      ensure: async () => of('second', await sealFile(directory, 'other', { damaged: false, checked: true })),
    },
    logger: { info: write, warn: write, error: write },
  });
  return {
    ...{ source, log },
    async keys(count) {
      const found: string[] = [];
      for (let n = 0; n < count; n += 1) found.push((await source.take(signal)).template.key);
      return found;
    },
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true }),
  };
}

/** A file that kiln of an earlier start has read, or that it has just made. */
async function sealFile(
  directory: string,
  name: string,
  { damaged, checked }: { damaged: boolean; checked: boolean },
): Promise<SealedFiles> {
  const [path, record] = [join(directory, name), join(directory, `${name}.json`)];
  await writeFile(path, 'bytes');
  const sealed = await SealedFiles.seal([path], record, signal);
  if (damaged) await writeFile(path, 'other');
  return checked ? sealed : new SealedFiles(sealed.hashes, { record });
}

test('the first VM waits for no check; every byte is read before the second, once', async () => {
  await using harness = await createSource();
  const { template } = await harness.source.take(signal);
  const checked = (): boolean[] => [template.image.sealed.checked, template.sealed.checked];
  assert.deepEqual(checked(), [false, false]);
  assert.deepEqual(await harness.keys(1), ['first']);
  assert.deepEqual(checked(), [true, true]);
  assert.deepEqual(await harness.keys(2), ['first', 'first']);
  assert.deepEqual(harness.log, []);
});

test('a template that was just made is not read again, its image is', async () => {
  await using harness = await createSource({ made: true });
  await writeFile(Object.keys((await harness.source.take(signal)).template.sealed.hashes)[0] ?? '', 'other');
  assert.deepEqual(await harness.keys(2), ['first', 'first']);
});

test('a damaged template is logged, thrown away and made anew, and the VM cloned from it is of no use', async () => {
  await using harness = await createSource({ damaged: 'template' });
  const { template, damaged } = await harness.source.take(signal);
  assert.equal(template.key, 'first');
  assert.deepEqual(await harness.keys(2), ['second', 'second']);
  assert.match(await damaged, /damaged/);
  assert.deepEqual(harness.log, [
    'The template of the VMs is damaged; another one is made.',
    'discarded first',
  ]);
});

for (const made of [undefined, true] as const) {
  test(`of a damaged image there is no second VM, and the first is of no use; its template ${made ? 'was just made' : 'is kept'}`, async () => {
    await using harness = await createSource({ damaged: 'image', ...(made && { made }) });
    const { damaged, template } = await harness.source.take(signal);
    const { disk } = template.image;
    const error = KilnError.from(await harness.source.take(signal).catch((thrown: unknown) => thrown));
    assert.equal(error.code, 'IMAGE_CORRUPT');
    assert.equal(
      String(error.cause),
      `Error: ${disk} is not what it was made as. Make another image with POST /admin/images/rebuild, or remove ${dirname(disk)} and start kiln again.`,
    );
    assert.equal(await damaged, error.message);
    assert.ok(!error.message.includes('/'), 'callers are told no path of this machine');
    assert.deepEqual(harness.log, []);
  });
}

test('a VM that is gone is not kept in memory by the wait for bad news of its template', async () => {
  await using harness = await createSource();
  const vm = await watchDamage(harness.source);
  await harness.keys(1);
  await setImmediate();
  heapBytes();
  assert.equal(vm.deref(), undefined);
});

/** What stands for a VM that waits for bad news, and is then let go of by all others. */
async function watchDamage(source: TemplateSource): Promise<WeakRef<object>> {
  const { damaged } = await source.take(signal);
  const vm = { reason: '' };
  void damaged.then((reason) => {
    vm.reason = reason;
  });
  return new WeakRef(vm);
}

const qemu = { binary: '/none', img: '/none', setpriv: '/none', version: '7.2.0', major: 7, minor: 2 };

/** The key of a template on this or another host. */
function keyOn(processor: Processor, host: readonly string[], installation = 'test'): string {
  const setup = {
    ...{ installation, processor, cpus: 1, memoryMiB: 1, diskBytes: 1 },
    ...{ vmsDirectory: '/none', templatesDirectory: '/none' },
    launcher: createProcessLauncher(qemu),
    users: { template: null, acquire: assert.fail },
  };
  const preparation = { fingerprint: '', prepare: assert.fail };
  return templateKey(
    { setup, image: noImage('none'), authorizedKey: '', preparation, progress: assert.fail },
    host,
  );
}

test("under KVM a template is its host's: another processor, microcode or kernel makes another; emulated it is not", async () => {
  const here = await readHostProcessor();
  assert.equal(here.length, 3);
  const [kvm] = kvmProcessors;
  const keys = [here, ...here.map((_, at) => here.with(at, 'other'))].map((host) => keyOn(kvm, host));
  assert.equal(new Set(keys).size, 4);
  assert.equal(keyOn(kvm, here), keys[0]);
  assert.equal(keyOn(emulatedProcessor, here), keyOn(emulatedProcessor, ['other', 'other', 'other']));
});

test('a template serves every installation on its host: data folders that share it do not each make their own', async () => {
  assert.equal(keyOn(emulatedProcessor, [], 'one'), keyOn(emulatedProcessor, [], 'other'));
});
