import { printable } from '../lib/text.ts';
import { KilnError } from '../model/error.ts';
import { type BuildSpec, parseSpec } from '../model/spec.ts';

/** The text fields of a build request, by form field or query parameter, in `docker build`'s words. */
export type Fields = ReadonlyMap<string, readonly string[]>;

const repeated = new Set(['build-arg', 'label', 'tag', 't']);
export const knownFields = [
  ...[
    'dockerfile',
    'target',
    'build-arg',
    'label',
    'no-cache',
    'platform',
    'tag',
    't',
    'output',
    'timeout',
    'entry',
  ],
  ...['on-failure', 'async'],
] as const;

/** What concerns the answer and not the build. */
export type AnswerOptions = { readonly onFailure: 'cut' | 'end'; readonly async: boolean };

/** @throws KilnError MULTIPART_FIELD for unknown or repeated ones, PARAM_INVALID, REF_INVALID, PLATFORM_UNSUPPORTED */
export function parseFields(fields: Fields): { spec: BuildSpec; answer: AnswerOptions } {
  for (const [name, values] of fields) {
    if (!knownFields.some((known) => known === name)) {
      throw new KilnError(
        'MULTIPART_FIELD',
        `There is no field '${printable(name)}'; known are ${knownFields.join(', ')}.`,
      );
    }
    if (values.length > 1 && !repeated.has(name)) {
      throw new KilnError(
        'MULTIPART_FIELD',
        `Field '${name}' is given ${values.length} times; give it once.`,
      );
    }
  }
  const one = (name: string): string | undefined => fields.get(name)?.[0];
  const many = (name: string): readonly string[] => fields.get(name) ?? [];
  const noCache = parseChoice(one('no-cache'), 'no-cache', booleans);
  const spec = parseSpec(
    withoutUndefined({
      entry: one('entry'),
      dockerfile: one('dockerfile'),
      target: one('target'),
      buildArgs: parsePairs('build-arg', many('build-arg')),
      labels: parsePairs('label', many('label')),
      noCache,
      platform: one('platform'),
      tags: [...many('tag'), ...many('t')],
      output: one('output'),
      timeoutSeconds: parseDuration(one('timeout')),
    }),
  );
  const onFailure =
    parseChoice(one('on-failure'), 'on-failure', { cut: 'cut', end: 'end' } as const) ?? 'cut';
  return { spec, answer: { onFailure, async: parseChoice(one('async'), 'async', booleans) ?? false } };
}

/** Both sources of fields as one; a field in both is refused, as nobody could say which holds. */
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

const booleans = { '1': true, true: true, '': true, '0': false, false: false } as const;

function parseChoice<T>(
  text: string | undefined,
  name: string,
  choices: Readonly<Record<string, T>>,
): T | undefined {
  if (text === undefined) return undefined;
  const choice = Object.hasOwn(choices, text) ? choices[text] : undefined;
  if (choice !== undefined) return choice;
  const known = Object.keys(choices)
    .filter((key) => key !== '')
    .join(', ');
  throw new KilnError('PARAM_INVALID', `Field '${name}' is '${printable(text)}'; it may be ${known}.`);
}

function parsePairs(name: string, values: readonly string[]): Record<string, string> {
  const pairs = values.map((text) => {
    const at = text.indexOf('=');
    if (at < 1)
      throw new KilnError('PARAM_INVALID', `Field '${name}' is '${printable(text)}'; it must be NAME=value.`);
    return [text.slice(0, at), text.slice(at + 1)];
  });
  return Object.fromEntries(pairs);
}

/** Seconds: `90`, `90s`, `10m`, `1h30m`. */
function parseDuration(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const [all, hours = '0', minutes = '0', seconds = '0'] =
    /^(?:(\d{1,4})h)?(?:(\d{1,6})m)?(?:(\d{1,8})s?)?$/.exec(text) ?? [];
  if (!all)
    throw new KilnError(
      'PARAM_INVALID',
      `Field 'timeout' is '${printable(text)}'; it may be 90, 10m or 1h30m.`,
    );
  return Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds);
}

function withoutUndefined(object: object): object {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined));
}
