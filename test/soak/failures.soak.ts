import { type FailureCase, testFailures } from '../e2e/failure-cases.ts';
import { startForFile } from '../e2e/harness.ts';

/** A build that uses up the memory of its VM, which takes minutes under emulation. */
const { service } = await startForFile();

const eat = 'dd if=/dev/zero of=/dev/null bs=1500M count=3';
const cases: readonly FailureCase[] = [
  [
    'a step needs more memory than there is',
    // Two at once, each of which would fit: what takes it slowly has the guest reclaim all else first, and lose its connection under emulation.
    `FROM busybox\nRUN ${eat} & ${eat}; status=$?; wait $! && exit $status; exit 1\n`,
    ...(['OOM', /\[2\/2\] RUN dd .* 2048 MiB/] as const),
  ],
];
testFailures(service, cases);
