import type { Readiness } from '../src/model/builds.ts';
import type { CatalogItem } from '../src/model/catalog-item.ts';

const versions = { buildkit: 'v0.20.2', runc: '1.2.5' };
const imageDigest = `sha256:${'a'.repeat(64)}` as const;

export const catalog: readonly CatalogItem[] = [
  {
    ...{ entry: 'buildkit-v0.20.2', state: 'checked', standard: true, derivedFrom: null },
    ...{ pins: { BUILDKIT_VERSION: 'v0.20.2' }, image: { imageDigest, versions } },
  },
  {
    ...{ entry: 'buildkit-v0.21.0', state: 'unbuilt', standard: false, derivedFrom: null },
    ...{ pins: { BUILDKIT_VERSION: 'v0.21.0' }, image: null },
  },
  {
    ...{ entry: 'company-ca', state: 'unbuilt', standard: false, derivedFrom: 'buildkit-v0.20.2' },
    ...{ pins: { BUILDKIT_VERSION: 'v0.20.2' }, image: null },
  },
];

export function readiness(ready: boolean): Readiness {
  return {
    ready,
    reason: ready ? null : 'The first VM is starting.',
    draining: false,
    entry: 'buildkit-v0.20.2',
    accelerator: { name: 'tcg', note: 'no KVM here' },
    pool: { warm: 1, frozen: 0, leased: 0, starting: 0, size: 1, max: 1 },
    pools: [{ entry: 'buildkit-v0.20.2', warm: 1, frozen: 0, leased: 0, starting: 0, size: 1 }],
    queue: { waiting: 0, limit: 10 },
  };
}
