import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { emulatedProcessor, kvmProcessors, type Processor } from '../../src/vm/qemu-arguments.ts';
import { type Template, templateFiles } from '../../src/vm/template.ts';
import { readHostProcessor, templateKey } from '../../src/vm/template-key.ts';
import { TemplateSource } from '../../src/vm/template-source.ts';
import { heapBytes } from '../heap-bytes.ts';

const { signal } = new AbortController();
const image = { entry: 'none', digest: '', versions: {}, kernel: '/none', initrd: '/none', disk: '/none' };

function templateOf(key: string): Template {
  return { key, image, authorizedKey: '', hostKey: '', files: templateFiles(`/none/${key}`) };
}

/** A source whose template is, or is not, what it looks like; the log says what was done, in order. */
function createSource({ checked, intact }: { checked: boolean; intact: boolean }) {
  const log: string[] = [];
  const write = (_fields: object, message: string): void => void log.push(message);
  const source = new TemplateSource(
    { template: templateOf('first'), checked },
    {
      steps: {
        async isIntact({ key }) {
          log.push(`checked ${key}`);
          return intact;
        },
        discard: async ({ key }) => void log.push(`discarded ${key}`),
        ensure: async () => ({ template: templateOf('second'), checked: true }),
      },
      logger: { info: write, warn: write, error: write },
    },
  );
  const keys = async (count: number): Promise<string[]> => {
    const found: string[] = [];
    for (let n = 0; n < count; n += 1) found.push((await source.take(signal)).template.key);
    return found;
  };
  return { source, log, keys };
}

test('the first VM waits for no check; every byte is read before the second, once', async () => {
  const { log, keys } = createSource({ checked: false, intact: true });
  assert.deepEqual(await keys(1), ['first']);
  assert.deepEqual(log, []);
  assert.deepEqual(await keys(3), ['first', 'first', 'first']);
  assert.deepEqual(log, ['checked first']);
});

test('a template that was just made is not read again', async () => {
  const { log, keys } = createSource({ checked: true, intact: false });
  assert.deepEqual(await keys(3), ['first', 'first', 'first']);
  assert.deepEqual(log, []);
});

test('a damaged template is logged, thrown away and made anew, and the VM cloned from it is of no use', async () => {
  const { source, log, keys } = createSource({ checked: false, intact: false });
  const { template, damaged } = await source.take(signal);
  assert.equal(template.key, 'first');
  assert.deepEqual(await keys(2), ['second', 'second']);
  assert.match(await damaged, /damaged/);
  assert.deepEqual(log, [
    'checked first',
    'The template of the VMs is damaged; another one is made.',
    'discarded first',
  ]);
});

test('a VM that is gone is not kept in memory by the wait for bad news of its template', async () => {
  const { source, keys } = createSource({ checked: false, intact: true });
  const vm = await watchDamage(source);
  await keys(1);
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

/** The key of a template on this or another host. */
function keyOn(processor: Processor, host: readonly string[], installation = 'test'): string {
  const setup = {
    ...{ installation, processor, cpus: 1, memoryMiB: 1, diskBytes: 1 },
    ...{ vmsDirectory: '/none', templatesDirectory: '/none' },
    qemu: { binary: '/none', img: '/none', setpriv: '/none', version: '7.2.0', major: 7, minor: 2 },
    users: { template: null, acquire: assert.fail },
  };
  const preparation = { fingerprint: '', prepare: assert.fail };
  return templateKey({ setup, image, authorizedKey: '', preparation, progress: assert.fail }, host);
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
