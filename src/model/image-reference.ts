import { parseFamiliarName, type Reference } from '@swimlane/docker-reference';

/** More than any has: a repository of 255 characters, a tag of 128 and a digest of 135. */
const maxLength = 1024;

/** Every separator is one character at least, and stands between others: there is one way to read a text, so that matching takes no time. */
const host = '[a-zA-Z0-9]+(?:-+[a-zA-Z0-9]+)*';
const domain = `${host}(?:\\.${host})*(?::[0-9]+)?`;
const component = '[a-z0-9]+(?:(?:\\.|__?|-+)[a-z0-9]+)*';
const tag = '\\w[\\w.-]{0,127}';
const digest = '[a-zA-Z][a-zA-Z0-9]*(?:[-_+.][a-zA-Z][a-zA-Z0-9]*)*:[a-fA-F0-9]{32,}';
const grammar = new RegExp(`^(?:${domain}/)?${component}(?:/${component})*(?::${tag})?(?:@${digest})?$`);

/**
 * The parts of an image's name as Docker reads it; null for what is none. Only what is one comes to the library: over a text that is
 * none its pattern may take longer than anybody lives, 30 letters and a `!` for one, and nothing else happens meanwhile.
 */
export function parseImageReference(text: string): Reference | null {
  if (text.length > maxLength || !grammar.test(text)) return null;
  try {
    return parseFamiliarName(text);
  } catch {
    return null;
  }
}
