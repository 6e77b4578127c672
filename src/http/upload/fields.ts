import { printable } from '../../lib/text.ts';
import { parseAttestations } from '../../model/attestations.ts';
import { KilnError } from '../../model/error.ts';
import type { OutputInput } from '../../model/output.ts';
import { parseOutput } from '../../model/parse-output.ts';
import { type BuildSpec, parseSpec, recordOf, specSchema } from '../../model/spec.ts';

/** The text fields of a build request, by form field or query parameter, in `docker build`'s words. */
export type Fields = ReadonlyMap<string, readonly string[]>;

/** Before the name of a named context, in the name of its field. */
export const contextPrefix = 'build-context.';
const anyContext = `${contextPrefix}NAME`;

export type FieldInfo = { readonly description: string; readonly repeated?: true };

const { shape } = specSchema;
const of = (name: keyof typeof shape): string => shape[name].meta()?.description ?? '';

/** Every field there is. */
export const fieldInfos: Readonly<Record<string, FieldInfo>> = {
  entry: {
    description: `${of('entry')} Several, repeated or with commas between them, make one build each of the same upload: a matrix.`,
    repeated: true,
  },
  buildkit: {
    description: 'The same as entry; the version alone will do, such as v0.12.5.',
    repeated: true,
  },
  dockerfile: { description: of('dockerfile') },
  'context-dir': { description: of('contextDir') },
  [anyContext]: {
    description: `A named context, with its own name in place of NAME: an archive as a file, or as text docker-image://NAME or a URL. ${of('buildContexts')}`,
  },
  target: { description: of('target') },
  'build-arg': { description: of('buildArgs'), repeated: true },
  label: { description: of('labels'), repeated: true },
  'no-cache': { description: of('noCache') },
  'no-cache-filter': { description: of('noCacheFilter'), repeated: true },
  'builtin-frontend': { description: of('builtinFrontend') },
  platform: { description: of('platform') },
  tag: { description: of('tags'), repeated: true },
  t: { description: 'The same as tag.', repeated: true },
  output: {
    description: `${of('outputs')} docker, oci, local (or tar) or none, or as docker buildx build --output has it: type=image,"name=REGISTRY/NAME:TAG",push=true, with compression, compression-level, force-compression, oci-mediatypes, rewrite-timestamp, annotation.KEY.`,
    repeated: true,
  },
  push: {
    description:
      'A name, REGISTRY/NAME:TAG, that the image is pushed under; kiln reads its digest back from there.',
    repeated: true,
  },
  provenance: { description: `${of('provenance')} true (min), false, mode=min, mode=max.` },
  sbom: { description: `${of('sbom')} true, false, generator=IMAGE.` },
  attest: {
    description: 'The same in other words: type=provenance,mode=max, type=sbom,generator=IMAGE.',
    repeated: true,
  },
  'add-host': { description: `${of('extraHosts')} HOST:ADDRESS is taken, too.`, repeated: true },
  'shm-size': { description: `${of('shmBytes')} Bytes, or 64k, 64m, 1g.` },
  ulimit: { description: of('ulimits'), repeated: true },
  network: { description: of('network') },
  retry: { description: of('retry') },
  timeout: { description: `${of('timeoutSeconds')} Seconds, or 10m, 1h30m.` },
  'no-output-timeout': { description: `${of('noOutputTimeoutSeconds')} Seconds, or 10m, 1h30m.` },
  'on-failure': {
    description:
      'How the answer of a build that did not succeed ends: cut off, so that curl exits with 18 (cut, the default), or like any other (end).',
  },
  async: { description: 'Answer 202 with the record at once, as Prefer: respond-async does.' },
};

/** Fields that have another name than their part of the spec. */
const fieldNames: Readonly<Record<string, string>> = {
  ...{
    contextDir: 'context-dir',
    buildContexts: 'build-context',
    buildArgs: 'build-arg',
    labels: 'label',
    noCache: 'no-cache',
    noCacheFilter: 'no-cache-filter',
    extraHosts: 'add-host',
    shmBytes: 'shm-size',
    ulimits: 'ulimit',
    outputs: 'output',
    tags: 'tag',
    builtinFrontend: 'builtin-frontend',
    timeoutSeconds: 'timeout',
    noOutputTimeoutSeconds: 'no-output-timeout',
  },
};

/** What concerns the answer and not the build. */
export type AnswerOptions = { readonly onFailure: 'cut' | 'end'; readonly async: boolean };

/** @throws KilnError MULTIPART_FIELD for fields that do not exist or are given too often */
function checkNames(fields: Fields): void {
  for (const [name, values] of fields) {
    const known = name.startsWith(contextPrefix) ? anyContext : name;
    const info = Object.hasOwn(fieldInfos, known) ? fieldInfos[known] : undefined;
    if (!info) throw unknownField(name);
    if (values.length > 1 && !info.repeated) {
      throw new KilnError(
        'MULTIPART_FIELD',
        `Field '${printable(name)}' is given ${values.length} times; give it once.`,
      );
    }
  }
}

export type ParsedFields = {
  readonly spec: BuildSpec;
  /** Of a matrix; undefined where one entry or none is named. */
  readonly entries: readonly string[] | undefined;
  readonly answer: AnswerOptions;
};

/** @throws KilnError MULTIPART_FIELD, PARAM_INVALID, REF_INVALID, PLATFORM_UNSUPPORTED */
export function parseFields(fields: Fields): ParsedFields {
  checkNames(fields);
  const one = (name: string): string | undefined => fields.get(name)?.[0];
  // As with `docker build --target ""`: scripts pass variables that may be empty.
  const given = (name: string): string | undefined => one(name) || undefined;
  const many = (name: string): readonly string[] => fields.get(name) ?? [];
  const entries = parseEntries(many('entry'), many('buildkit'));
  const spec = parseSpec(
    withoutUndefined({
      entry: entries.length === 1 ? entries[0] : undefined,
      dockerfile: given('dockerfile'),
      contextDir: given('context-dir'),
      buildContexts: parseContexts(fields),
      target: given('target'),
      buildArgs: parsePairs('build-arg', many('build-arg')),
      labels: parsePairs('label', many('label')),
      noCache: parseChoice('no-cache', one('no-cache'), booleans),
      noCacheFilter: many('no-cache-filter').flatMap((names) => names.split(',')),
      builtinFrontend: parseChoice('builtin-frontend', one('builtin-frontend'), booleans),
      platform: given('platform'),
      tags: [...many('tag'), ...many('t')],
      outputs: parseOutputs(many('output'), many('push')),
      ...parseAttestations({
        attest: many('attest'),
        provenance: one('provenance'),
        sbom: one('sbom'),
      }),
      extraHosts: many('add-host').map((text) => text.replace(/^([^=:]+):/, '$1=')),
      shmBytes: parseSize('shm-size', given('shm-size')),
      ulimits: [...many('ulimit')],
      network: given('network'),
      retry: given('retry'),
      timeoutSeconds: parseDuration('timeout', given('timeout')),
      noOutputTimeoutSeconds: parseDuration('no-output-timeout', given('no-output-timeout')),
    }),
    fieldNames,
  );
  const onFailure = parseChoice('on-failure', one('on-failure'), { cut: 'cut', end: 'end' } as const);
  const async = parseChoice('async', one('async'), booleans);
  return {
    ...{ spec, entries: entries.length > 1 ? entries : undefined },
    answer: { onFailure: onFailure ?? 'cut', async: async ?? false },
  };
}

/** Both sources of fields as one; a field in both is refused, as nobody could say which one counts. */
export function joinFields(first: Fields, second: Fields): Fields {
  const twice = [...first.keys()].find((name) => second.has(name));
  if (twice !== undefined) {
    throw new KilnError(
      'MULTIPART_FIELD',
      `Field '${printable(twice)}' is given in the form and in the URL; give it once.`,
    );
  }
  return new Map([...first, ...second]);
}

/** Two names of one field, of which one may be used; empty values count for nothing. */
function parseEntries(entry: readonly string[], buildkit: readonly string[]): string[] {
  const [ofEntry, ofBuildkit] = [entry, buildkit].map((texts) =>
    texts
      .flatMap((text) => text.split(','))
      .map((text) => text.trim())
      .filter((text) => text !== ''),
  ) as [string[], string[]];
  if (ofEntry.length > 0 && ofBuildkit.length > 0)
    throw new KilnError('PARAM_INVALID', "Fields 'entry' and 'buildkit' are the same; give one of them.");
  return [...ofEntry, ...ofBuildkit];
}

function unknownField(name: string): KilnError {
  const hint =
    name === 'context'
      ? "The context must be a file: with curl, -F context=@ctx.tgz with the '@'."
      : `There is no field '${printable(name)}'; known are ${Object.keys(fieldInfos).join(', ')}.`;
  return new KilnError('MULTIPART_FIELD', hint);
}

const booleans = { '1': true, true: true, '': true, '0': false, false: false } as const;

function parseChoice<T>(
  name: string,
  text: string | undefined,
  choices: Readonly<Record<string, T>>,
): T | undefined {
  if (text === undefined) return undefined;
  const choice = Object.hasOwn(choices, text) ? choices[text] : undefined;
  if (choice !== undefined) return choice;
  const known = Object.keys(choices).filter((key) => key !== '');
  throw new KilnError(
    'PARAM_INVALID',
    `Field '${name}' is '${printable(text)}'; it may be ${known.join(', ')}.`,
  );
}

function parsePairs(name: string, values: readonly string[]): Record<string, string> {
  const pairs = values.map((text): [name: string, value: string] => {
    const at = text.indexOf('=');
    if (at < 1)
      throw new KilnError('PARAM_INVALID', `Field '${name}' is '${printable(text)}'; it must be NAME=value.`);
    return [text.slice(0, at), text.slice(at + 1)];
  });
  return recordOf(name, pairs);
}

/** All names of `push` are those of one image. */
function parseOutputs(texts: readonly string[], push: readonly string[]): OutputInput[] {
  const names = push.filter((name) => name !== '');
  return [
    ...texts.filter((text) => text !== '').flatMap((text) => parseOutput(text) ?? []),
    ...(names.length > 0 ? [{ type: 'image' as const, names }] : []),
  ];
}

function parseContexts(fields: Fields): Record<string, string> {
  const given = [...fields].filter(([name]) => name.startsWith(contextPrefix));
  const pairs = given.map(([name, [source = '']]) => [name.slice(contextPrefix.length), source] as const);
  return recordOf('build-context', pairs);
}

/** Seconds: `90`, `90s`, `10m`, `1h30m`. */
function parseDuration(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const [all, hours = '0', minutes = '0', seconds = '0'] =
    /^(?:(\d{1,4})h)?(?:(\d{1,6})m)?(?:(\d{1,8})s?)?$/.exec(text) ?? [];
  if (!all)
    throw new KilnError(
      'PARAM_INVALID',
      `Field '${name}' is '${printable(text)}'; it may be 90, 10m or 1h30m.`,
    );
  return Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds);
}

/** Bytes: `67108864`, `65536k`, `64m`, `1g`, with a `b` behind it or not, as Docker reads them. */
function parseSize(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const [, count, unit = ''] = /^(\d{1,15})([kmg]?)b?$/i.exec(text) ?? [];
  if (count === undefined)
    throw new KilnError(
      'PARAM_INVALID',
      `Field '${name}' is '${printable(text)}'; it may be 67108864, 64m or 1g.`,
    );
  return Number(count) * 1024 ** ['', 'k', 'm', 'g'].indexOf(unit.toLowerCase());
}

function withoutUndefined(object: object): object {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined));
}
