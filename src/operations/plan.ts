import { type Operation, rebuildSteps, type StepName, stepsOf } from '../model/operation.ts';
import type { OperationJournal } from './operation-journal.ts';

/** As it begins: what is not asked for is skipped. */
export function newOperation(given: Pick<Operation, 'id' | 'request' | 'resumes'>): Operation {
  const asked = stepsOf(given.request);
  return {
    ...given,
    kind: 'rebuild',
    state: 'running',
    steps: rebuildSteps.map((name) => ({
      name,
      state: asked.includes(name) ? 'waiting' : 'skipped',
      started: null,
      ended: null,
    })),
    started: new Date().toISOString(),
    ended: null,
    verdict: null,
    image: null,
    ctrDigest: null,
    dqdDigest: null,
    published: [],
  };
}

/** What a dry run says, and all that it does. */
export async function plan(journal: OperationJournal): Promise<void> {
  const { entry, version, repo } = journal.operation.request;
  const would: Readonly<Record<StepName, string>> = {
    ctr: `the root file system ${version} of ${entry} would be made as a container image, or taken from the cache`,
    vm: 'kernel, initrd and disk would be made from that',
    dqd: 'a container image of QEMU and these would be made',
    check: 'it would boot, be made ready, be looked at from inside, and build images/checks',
    publish: `it would go to ${repo}`,
    roll: `builds of ${entry} would run on it`,
  };
  const steps = stepsOf(journal.operation.request);
  await journal.log(Buffer.from(steps.map((name) => `${name}  ${would[name]}\n`).join('')));
  for (const name of steps) await journal.step(name, 'skipped');
}
