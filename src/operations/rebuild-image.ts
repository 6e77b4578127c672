import type { Entry } from '../catalog/catalog.ts';
import type { Evidence } from '../images/evidence/rebuild-evidence.ts';
import type { ImageToPublish } from '../images/publish/publish-images.ts';
import type { Caller } from '../model/caller.ts';
import { KilnError } from '../model/error.ts';
import { type StepName, stepsOf } from '../model/operation.ts';
import { checkBuilds } from './check-builds.ts';
import { checkImage } from './check-image.ts';
import type { ImageHouse, MadeVm, Making, Publishing, ToPublish, TriedOut } from './image-house.ts';
import type { OperationJournal } from './operation-journal.ts';

/** What a rebuild works with. */
type Rebuild = {
  readonly journal: OperationJournal;
  readonly house: ImageHouse;
  readonly entry: Entry;
  readonly making: Making;
};

export type Task = {
  readonly house: ImageHouse;
  readonly entry: Entry;
  readonly caller: Caller;
  /** As of `ToPublish`. */
  readonly ours: readonly string[];
};

/**
 * Makes the images of an entry anew, tries the VM image out in a VM, and serves it: until its last step nothing changes for any build.
 * @throws KilnError of whichever step failed; CANARY_FAILED where the new image does not do what it must
 */
export async function rebuildImage(
  journal: OperationJournal,
  { house, entry, caller, ours }: Task,
  signal: AbortSignal,
): Promise<void> {
  const { request } = journal.operation;
  const { version, args, noCache } = request;
  const output = (bytes: Buffer): Promise<void> => journal.log(bytes);
  const making = {
    ...{ entry: entry.name, version, args, noCache, caller },
    ...{ progress: say(journal), output, signal },
  };
  const rebuild: Rebuild = { journal, house, entry, making };
  const steps = stepsOf(request);
  const runs = (name: StepName): boolean => steps.includes(name);

  if (request.repo !== undefined) await refusePublished(rebuild, { repo: request.repo, ours });
  const ctr = await step(journal, 'ctr', () => makeCtr(rebuild));
  const vm = runs('vm') ? await step(journal, 'vm', () => makeVm(rebuild)) : null;
  const dqd = vm && runs('dqd') ? await step(journal, 'dqd', () => makeDqd(rebuild, vm)) : null;
  await using undo = new AsyncDisposableStack();
  const checked = vm && (await step(journal, 'check', () => check(rebuild, { vm, dqd }, undo)));
  const evidence = checked?.evidence ?? null;
  const images = dqd ? [ctr, dqd] : [ctr];
  if (request.repo !== undefined) {
    const publishing = { repo: request.repo, images, evidence };
    await step(journal, 'publish', () => publish(rebuild, publishing));
  }
  if (!vm || !checked) return;
  await step(journal, 'roll', () => house.serve(checked.tried, vm.ref));
  undo.move();
  making.progress(`roll  builds of ${entry.name} run on ${version}; those that run keep theirs`);
}

async function makeCtr({ journal, house, making }: Rebuild): Promise<ImageToPublish> {
  const { layout, digest } = await house.makeCtr(making);
  await journal.change({ ctrDigest: digest });
  return { kind: 'ctr', layout, digest };
}

async function makeVm({ journal, house, making }: Rebuild): Promise<MadeVm> {
  const vm = await house.makeVm(making);
  const { digest, versions } = vm.image;
  await journal.change({ image: { digest, versions } });
  return vm;
}

async function makeDqd({ journal, house, making }: Rebuild, vm: MadeVm): Promise<ImageToPublish> {
  const { reference, tar, digest } = await house.makeDqd(making, vm);
  await journal.change({ dqdDigest: digest });
  making.progress(`dqd  ${reference}`);
  return { kind: 'dqd', layout: tar, digest };
}

/** What cannot be published is not made. */
async function refusePublished(
  { journal, house, making }: Rebuild,
  { repo, ours }: Pick<ToPublish, 'repo' | 'ours'>,
): Promise<void> {
  const kinds = (['ctr', 'dqd'] as const).filter((kind) => journal.operation.request.targets.includes(kind));
  try {
    await house.refusePublished(making, { repo, kinds, ours });
  } catch (error) {
    await journal.step('publish', 'failed').catch(() => undefined);
    throw error;
  }
}

/** Tries the image out, and tells of what was tried out alone. @param undo As of `tryOut`. */
async function check(
  rebuild: Rebuild,
  { vm, dqd }: { vm: MadeVm; dqd: ImageToPublish | null },
  undo: AsyncDisposableStack,
): Promise<{ tried: TriedOut; evidence: Evidence }> {
  const tried = await tryOut(rebuild, vm, undo);
  return { tried, evidence: await sign(rebuild, vm, dqd) };
}

async function sign(
  { journal, house, making }: Rebuild,
  vm: MadeVm,
  dqd: ImageToPublish | null,
): Promise<Evidence> {
  const { id, started } = journal.operation;
  return house.sign(making, { vm, dqd: dqd?.digest ?? null, operation: { id, started } });
}

async function publish({ journal, house, making }: Rebuild, publishing: Publishing): Promise<void> {
  const published = await house.publish(making, publishing);
  await journal.change({
    published: published.map(({ reference, alias, digest }) => ({ reference, alias, digest })),
  });
}

/** @param undo Holds the template's removal, for where the image does not come to serve. */
async function tryOut(
  { house, entry, making }: Rebuild,
  made: MadeVm,
  undo: AsyncDisposableStack,
): Promise<TriedOut> {
  const { progress, signal } = making;
  const onPlace = (place: number): void =>
    progress(`check  waits for room for a VM, as a build would: place ${place} in the line`);
  // Until the last VM that is made here is gone.
  using _room = await house.takeRoom({ onPlace, signal });
  progress('check  the image boots, is made ready and builds once …');
  const tried = await asCanary(() => house.tryOut(made, signal), signal);
  undo.defer(() => house.discard(entry.name, tried.templates));
  await using vm = await asCanary(() => house.startVm(entry, tried.templates, signal), signal);
  await checkImage({ vm, image: tried.image, pins: entry.pins }, progress, signal);
  await checkBuilds({ vm, checks: await house.checks() }, progress, signal);
  return tried;
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

function say(journal: OperationJournal): (line: string) => void {
  return (line) => void journal.log(Buffer.from(`${line}\n`)).catch(() => undefined);
}

async function step<T>(journal: OperationJournal, name: StepName, work: () => Promise<T>): Promise<T> {
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
