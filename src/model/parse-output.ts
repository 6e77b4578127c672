import { printable } from '../lib/text.ts';
import { KilnError } from './error.ts';
import { annotated, type OutputInput } from './output.ts';

/** `docker`, or `type=image,"name=a,b",push=true`: an output as `docker buildx build --output` and `buildctl build --output` have it. */

/** Several words for one type. */
const types: Readonly<Record<string, OutputInput['type'] | 'none'>> = {
  ...{ docker: 'docker', oci: 'oci', local: 'local', tar: 'local', image: 'image', registry: 'image' },
  ...{ none: 'none', cacheonly: 'none' },
};
const known =
  'type, name, push, compression, compression-level, force-compression, oci-mediatypes, rewrite-timestamp and annotation.KEY';

/** @returns null where nothing is to be put out @throws KilnError PARAM_INVALID */
export function parseOutput(text: string): OutputInput | null {
  const pairs = splitPairs(text);
  const values = new Map<string, string[]>();
  for (const [name, value] of pairs) values.set(name, [...(values.get(name) ?? []), value]);
  const take = (name: string): string | undefined => {
    const found = values.get(name);
    values.delete(name);
    return found?.at(-1);
  };
  const word = take('type') ?? '';
  const type = Object.hasOwn(types, word) ? types[word] : undefined;
  if (type === undefined)
    throw refuse(`'${printable(text, 100)}' has no type of ${Object.keys(types).join(', ')}`);
  if (values.has('dest')) throw refuse('what is kept is downloaded from /artifact, so leave dest out');
  if (type === 'none') return refuseOthers(values, word) ?? null;
  const push = readBoolean('push', take('push')) ?? word === 'registry';
  if (type === 'image' && !push)
    throw refuse(
      `type=${word} without push=true stays in the VM, which is destroyed; push it, or take type=docker or oci`,
    );
  if (type !== 'image' && push) throw refuse(`type=${word} is kept and not pushed; take type=image for that`);
  if (type === 'local') return refuseOthers(values, word) ?? { type };
  const names = (values.get('name') ?? []).flatMap((list) => list.split(','));
  values.delete('name');
  const level = take('compression-level');
  const given = {
    names,
    compression: take('compression') as undefined,
    compressionLevel: level === undefined ? undefined : readNumber('compression-level', level),
    forceCompression: readBoolean('force-compression', take('force-compression')),
    ociMediaTypes: readBoolean('oci-mediatypes', take('oci-mediatypes')),
    rewriteTimestamp: readBoolean('rewrite-timestamp', take('rewrite-timestamp')),
    annotations: takeAnnotations(values),
  };
  refuseOthers(values, word);
  return { type, ...Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) };
}

/** A line of CSV, as Go reads it: fields may be quoted. One word alone is a type. */
function splitPairs(text: string): [name: string, value: string][] {
  const fields: string[] = [];
  const field = /(?:"((?:[^"]|"")*)"|([^",]*))(?:,|$)/y;
  while (field.lastIndex < text.length) {
    const [, quoted, bare = ''] = field.exec(text) ?? [];
    if (field.lastIndex === 0)
      throw refuse(`'${printable(text, 100)}' is not NAME=value with commas between`);
    fields.push(quoted?.replaceAll('""', '"') ?? bare);
  }
  if (fields.length === 1 && !text.includes('=')) return [['type', fields[0] ?? '']];
  return fields.map((pair) => {
    const at = pair.indexOf('=');
    if (at < 1) throw refuse(`'${printable(pair, 100)}' is not NAME=value`);
    return [
      pair.slice(0, at).trim().toLowerCase() === 'type' ? 'type' : pair.slice(0, at).trim(),
      pair.slice(at + 1),
    ];
  });
}

/** `annotation.KEY`, `annotation-index.KEY` … of BuildKit as `KEY`, `index:KEY` …, which are buildx's. */
function takeAnnotations(values: Map<string, string[]>): Record<string, string> {
  const found: [string, string][] = [];
  for (const [name, all] of values) {
    const [, of, key] = /^annotation(?:-([a-z-]+))?\.(.+)$/s.exec(name) ?? [];
    if (key === undefined || !(of === undefined || (annotated as readonly string[]).includes(of))) continue;
    values.delete(name);
    found.push([of === undefined ? key : `${of}:${key}`, all.at(-1) ?? '']);
  }
  return Object.fromEntries(found);
}

function refuseOthers(values: ReadonlyMap<string, unknown>, type: string): undefined {
  const [name] = values.keys();
  if (name !== undefined)
    throw refuse(`'${printable(name, 100)}' is nothing that type=${type} takes; known are ${known}`);
}

function readBoolean(name: string, text: string | undefined): boolean | undefined {
  if (text === undefined) return undefined;
  if (['true', '1', ''].includes(text)) return true;
  if (['false', '0'].includes(text)) return false;
  throw refuse(`${name} is '${printable(text, 100)}'; it may be true or false`);
}

function readNumber(name: string, text: string): number {
  if (/^\d{1,3}$/.test(text)) return Number(text);
  throw refuse(`${name} is '${printable(text, 100)}'; it must be a number`);
}

function refuse(problem: string): KilnError {
  return new KilnError('PARAM_INVALID', `Field 'output': ${problem}.`, { details: { field: 'output' } });
}
