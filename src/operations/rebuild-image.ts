import type { Entry } from '../catalog/catalog.ts';
import type { WarmVm } from '../guest/warm-vm.ts';
import { KilnError } from '../model/error.ts';
import type { Step } from '../model/operation.ts';
import type { VmImage } from '../model/vm-image.ts';
import type { TemplateSource } from '../vm/template-source.ts';
import { checkImage } from './check-image.ts';
import type { ImageHouse } from './image-house.ts';
import type { OperationJournal } from './operation-journal.ts';

/**
 * Makes a VM image anew, tries it out in a VM, and serves it: until its last step nothing changes for any build.
 * @throws KilnError of whichever step failed; CANARY_FAILED where the new image does not do what it must
 */
export async function rebuildImage(
  journal: OperationJournal,
  { house, entry }: { house: ImageHouse; entry: Entry },
  signal: AbortSignal,
): Promise<void> {
  const { version } = journal.operation.request;
  const say = (line: string): void => void journal.log(Buffer.from(`${line}\n`)).catch(() => undefined);
  const { image, ref } = await step(journal, 'image', () => {
    return house.make({
      entry: entry.name,
      version,
      progress: say,
      output: (bytes) => journal.log(bytes),
      signal,
    });
  });
  await journal.change({ image: { digest: image.digest, versions: image.versions } });
  await using undo = new AsyncDisposableStack();
  const templates = await step(journal, 'check', () => tryOut({ image, entry, house, say, undo }, signal));
  await step(journal, 'roll', () => house.serve(image, templates, ref));
  undo.move();
  say(`roll  builds of ${entry.name} run on ${version}; those that run keep theirs`);
}

async function tryOut(
  {
    image,
    entry,
    house,
    say,
    undo,
  }: {
    image: VmImage;
    entry: Entry;
    house: ImageHouse;
    say: (line: string) => void;
    undo: AsyncDisposableStack;
  },
  signal: AbortSignal,
): Promise<TemplateSource> {
  say('check  the image boots, is made ready and builds once …');
  const templates = await asCanary(() => house.tryOut(image, signal), signal);
  undo.defer(() => house.discard(entry.name, templates));
  await using vm: WarmVm = await asCanary(() => house.startVm(entry, templates, signal), signal);
  await checkImage({ vm, image, pins: entry.pins }, say, signal);
  return templates;
}

/** That a VM cannot be had of the new image is the image's fault as far as anybody can tell. */
async function asCanary<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
  try {
    return await work();
  } catch (error) {
    signal.throwIfAborted();
    const { message } = KilnError.from(error);
    throw new KilnError('CANARY_FAILED', `The new image does not serve: ${message}`, { cause: error });
  }
}

async function step<T>(journal: OperationJournal, name: Step['name'], work: () => Promise<T>): Promise<T> {
  await journal.step(name, 'running');
  try {
    const result = await work();
    await journal.step(name, 'done');
    return result;
  } catch (error) {
    // Where there is no room for that either, its end says so.
    await journal.step(name, 'failed').catch(() => undefined);
    throw error;
  }
}
