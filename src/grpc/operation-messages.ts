import type { CatalogItem } from '../model/catalog-item.ts';
import type * as model from '../model/operation.ts';
import type { CatalogEntry, Operation, VmImage } from './generated/kiln/v1/image_service.ts';
import { states, toPairs, toStep, toVerdict } from './messages.ts';

/** Operations and the catalog in the words of the protocol. */

export function toOperation({ request, state, verdict, image, ...operation }: model.Operation): Operation {
  return {
    id: operation.id,
    ...{ entry: request.entry, version: request.version, dryRun: request.dryRun },
    ...{ targets: [...request.targets], repo: request.repo, published: [...operation.published] },
    ctrDigest: operation.ctrDigest ?? undefined,
    dqdDigest: operation.dqdDigest ?? undefined,
    state: states[state],
    steps: operation.steps.map(toStep),
    started: new Date(operation.started),
    ended: operation.ended === null ? undefined : new Date(operation.ended),
    verdict: verdict ? toVerdict(verdict) : undefined,
    image: image ? toImage(image) : undefined,
    resumes: operation.resumes ?? undefined,
  };
}

export function toCatalogEntry({ entry, state, image, ...item }: CatalogItem): CatalogEntry {
  return {
    ...{ name: entry, checked: state === 'checked', standard: item.standard, pins: toPairs(item.pins) },
    derivedFrom: item.derivedFrom ?? undefined,
    image: image ? toImage({ digest: image.imageDigest, versions: image.versions }) : undefined,
  };
}

function toImage({ digest, versions }: NonNullable<model.Operation['image']>): VmImage {
  return { digest, versions: toPairs(versions) };
}
