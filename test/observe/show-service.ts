import type { Metrics } from '../../src/observe/metrics.ts';

/** Shows a service that does not change but for what is changed in the result. */
export function showService(metrics: Metrics): { warm: number } {
  const changing = { warm: 2 };
  metrics.show({ version: '1.2.3', accelerator: 'tcg', maxVms: 4, queueLimit: 100 }, () => ({
    ready: true,
    pools: new Map([
      ['buildkit-v0.20.2', { warm: changing.warm, frozen: 1, leased: 1, starting: 0, ending: 0 }],
    ]),
    waits: new Map([['buildkit-v0.20.2', { builds: 3, oldestSeconds: 4.5 }]]),
    operationsRunning: 0,
  }));
  return changing;
}
