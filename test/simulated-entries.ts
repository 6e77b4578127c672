import type { BuildingEntry } from '../src/builds/check-contexts.ts';
import { capabilitiesOf } from '../src/catalog/capabilities.ts';
import { KilnError } from '../src/model/error.ts';

const standard = 'buildkit-v0.20.2';
/** Of the catalog; a host may have more of it than the entry of its one build. */
export const entries = [standard, 'buildkit-v0.12.5'];
/** Too old for named contexts. */
export const oldEntry = 'buildkit-v0.8.3';

/** @throws KilnError BUILDKIT_UNKNOWN */
export function findEntry(asked: string = standard): BuildingEntry {
  if (asked === oldEntry) return { name: asked, capabilities: capabilitiesOf([0, 8, 3]) };
  if (asked === standard) return { name: asked, capabilities: capabilitiesOf([0, 20, 2]) };
  if (entries.includes(asked)) return { name: asked, capabilities: capabilitiesOf([0, 12, 5]) };
  const details = { field: 'entry' };
  throw new KilnError('BUILDKIT_UNKNOWN', `There is no archive entry ${asked}.`, { details });
}
