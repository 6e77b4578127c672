import { printable } from '../lib/text.ts';
import { KilnError } from './error.ts';
import { parseImageReference } from './image-reference.ts';

/**
 * Named contexts: what a Dockerfile may name in FROM, COPY --from and RUN --mount beside its stages, and what takes the place of a
 * stage or an image of that name; `docker buildx build --build-context`.
 */

/** At most so many of one build. */
export const maxNamedContexts = 8;
const maxNameLength = 128;
const maxSourceLength = 2048;

/** `folder` and `oci-layout` come as archives. */
export const contextKinds = ['folder', 'oci-layout', 'docker-image', 'git', 'http'] as const;
export type ContextKind = (typeof contextKinds)[number];

/** BuildKit never looks for contexts of these names (frontend/dockerfile/dockerfile2llb/convert.go). */
const meantOtherwise: readonly string[] = ['scratch', 'context'];

/** Why nothing can have this name, in half a sentence; null where it can. */
export function findNameProblem(name: string): string | null {
  if (name.length > maxNameLength) return `is longer than ${maxNameLength} characters`;
  if (meantOtherwise.includes(name)) return 'means something else in every Dockerfile';
  if (parseImageReference(name)) return null;
  return parseImageReference(name.toLowerCase())
    ? 'must be in lower case, as BuildKit looks for it'
    : 'is neither that of a stage nor that of an image';
}

/**
 * The form of a name that BuildKit looks for: of `docker.io/library/alpine:latest` that is `alpine` (frontend/dockerui/config.go).
 * @throws KilnError PARAM_INVALID
 */
export function normalizeName(name: string): string {
  const problem = findNameProblem(name);
  const reference = problem === null ? parseImageReference(name) : null;
  if (!reference) throw refuse(`A named context's name, '${printable(name, 100)}', ${problem}.`);
  const { domain, repository = '', tag, digest } = reference;
  const familiar =
    domain === 'docker.io' ? repository.replace(/^library\/([^/]+)$/, '$1') : `${domain}/${repository}`;
  const suffix = `${tag === undefined ? '' : `:${tag}`}${digest === undefined ? '' : `@${digest}`}`;
  return `${familiar}${suffix}`.replace(/:latest$/, '');
}

/**
 * @param names of all named contexts of one build
 * @returns them as `normalizeName` does
 * @throws KilnError PARAM_INVALID, also where two mean the same or there are too many
 */
export function normalizeNames(names: readonly string[]): string[] {
  if (names.length > maxNamedContexts)
    throw refuse(`${names.length} named contexts are given; at most ${maxNamedContexts} are taken.`);
  const normal = names.map(normalizeName);
  const twice = normal.find((name, index) => normal.indexOf(name) !== index);
  if (twice !== undefined) throw refuse(`The context '${twice}' is given twice; give it once.`);
  return normal;
}

/** Why nothing can be fetched from there, in half a sentence; null where it can. */
export function findSourceProblem(source: string): string | null {
  if (source.length > maxSourceLength) return `is longer than ${maxSourceLength} characters`;
  if (/[^\x21-\x7e]/.test(source)) return 'has blanks, or characters that no URL has';
  if (source.startsWith(imageScheme))
    return parseImageReference(source.slice(imageScheme.length)) ? null : 'is not a valid image reference';
  if (/^(?:ssh:|git@)/.test(source))
    return 'needs an ssh key, and kiln has none; name the repository by https://';
  if (!/^(?:https?|git):\/\/[^/]/.test(source) || !URL.canParse(source))
    return 'must be docker-image://NAME, an http:// or https:// URL, or that of a git repository, such as https://HOST/REPO.git#REF:FOLDER; an archive is sent as a file';
  const { username, password } = new URL(source);
  return username === '' && password === ''
    ? null
    : 'has a user or a password in it, which the log of the build would show; leave them out';
}

/** @param source for which `findSourceProblem` finds none */
export function kindOfSource(source: string): ContextKind {
  if (source.startsWith(imageScheme)) return 'docker-image';
  const { protocol, pathname } = new URL(source);
  return protocol === 'git:' || pathname.endsWith('.git') ? 'git' : 'http';
}

/** What may be shown and kept of it: queries of URLs are often signatures. */
export function showSource(source: string): string {
  return source.replace(/\?[^#]*/, '?...');
}

const imageScheme = 'docker-image://';

function refuse(message: string): KilnError {
  return new KilnError('PARAM_INVALID', message, { details: { field: 'buildContexts' } });
}
