import type { Attempt } from '../src/model/build.ts';

const at = '2026-11-23T10:00:00.000Z';

/** One that lost its VM, and one that runs. */
export const attempts: readonly Attempt[] = [
  {
    ...{ number: 1, vm: 'vm-0', started: at, ended: at, seconds: 1.5 },
    error: { code: 'INFRA', message: 'The VM of this build went away.' },
  },
  { number: 2, vm: 'vm-1', started: at, ended: null, seconds: null, error: null },
];
