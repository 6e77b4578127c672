import { KilnError } from '../model/error.ts';

/** Of what one event holds, but for the last item in it: whoever reads events holds one of them, for as long as a slow client takes. */
const enoughBytes = 256 * 1024;
/** BuildKit splits a log into pieces of 32 KiB, and no name or error is as long. */
const maxItemBytes = 1024 * 1024;

const lists = ['vertexes', 'statuses', 'logs', 'warnings'] as const;

/**
 * A status as several smaller ones that say the same together: each says more of a build, and none takes anything back. A guest
 * decides how much it puts into one.
 * @param bytes Of the status as JSON.
 * @throws KilnError INFRA for a large one that cannot be split
 */
export function* splitStatus(status: unknown, bytes: number): Generator<unknown> {
  if (bytes <= enoughBytes) {
    yield status;
    return;
  }
  if (!isObject(status) || !Object.keys(status).every((name) => isList(name))) throw tooLarge();
  for (const name of lists) {
    const items = status[name] ?? [];
    if (!Array.isArray(items)) throw tooLarge();
    for (const part of inParts(items)) yield { [name]: part };
  }
}

function* inParts(items: readonly unknown[]): Generator<unknown[]> {
  let part: unknown[] = [];
  let bytes = 0;
  for (const item of items) {
    const itemBytes = Buffer.byteLength(JSON.stringify(item));
    if (itemBytes > maxItemBytes) throw tooLarge();
    part.push(item);
    bytes += itemBytes;
    if (bytes < enoughBytes) continue;
    yield part;
    [part, bytes] = [[], 0];
  }
  if (part.length > 0) yield part;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isList(name: string): boolean {
  return (lists as readonly string[]).includes(name);
}

function tooLarge(): KilnError {
  return new KilnError(
    'INFRA',
    `The guest sent a status with a part of more than ${maxItemBytes} bytes, which no BuildKit does.`,
  );
}
