import { printable } from '../../lib/text.ts';
import type { DockerfilePolicy } from '../../model/context.ts';
import { KilnError } from '../../model/error.ts';

export const maxDockerfileBytes = 1024 * 1024;

/** @returns the frontend it names, if any. @throws KilnError DOCKERFILE_INVALID, FRONTEND_NOT_ALLOWED */
export function checkDockerfileBytes(bytes: Buffer, policy: DockerfilePolicy): string | null {
  if (bytes.length > maxDockerfileBytes) throw invalid(`is larger than ${maxDockerfileBytes} bytes`);
  if (bytes.includes(0)) {
    throw invalid(
      isUtf16(bytes)
        ? 'is UTF-16, which BuildKit cannot read; save it as UTF-8'
        : 'has NUL bytes; it must be text',
    );
  }
  // Comments may be in Latin-1: BuildKit reads bytes, and what is no UTF-8 is part of no directive.
  const frontend = findSyntaxDirective(bytes.toString('utf8'));
  if (frontend !== null && !policy.customFrontends)
    throw frontendForbidden(`The Dockerfile asks for the frontend '${printable(frontend)}'`);
  return frontend;
}

/** By its byte order mark, which the tools of Windows write. */
export function isUtf16(bytes: Buffer): boolean {
  return ['fffe', 'feff'].includes(bytes.toString('hex', 0, 2));
}

/** `BUILDKIT_SYNTAX` as a build argument replaces the frontend just as `# syntax=` does. */
export function checkFrontendArgument(
  buildArgs: Readonly<Record<string, string>>,
  policy: DockerfilePolicy,
): void {
  if (!policy.customFrontends && 'BUILDKIT_SYNTAX' in buildArgs) {
    throw frontendForbidden('The build argument BUILDKIT_SYNTAX asks for another frontend');
  }
}

/**
 * The frontend a Dockerfile names, found in all the places where BuildKit v0.20.2 looks: directives in leading `#` or `//`
 * comments, after a shebang, or a JSON object (frontend/dockerfile/parser/directives.go). Where releases of BuildKit differ,
 * it looks on rather than stops: what any of them would find must be found.
 */
function findSyntaxDirective(text: string): string | null {
  const body = withoutShebang(text.replace(/^\ufeff/, ''));
  return findInComments(body, '#') ?? findInComments(body, '//') ?? findInJson(body);
}

function withoutShebang(text: string): string {
  const lineEnd = text.indexOf('\n');
  return text.startsWith('#!') && lineEnd >= 0 ? text.slice(lineEnd + 1) : text;
}

function findInComments(text: string, comment: '#' | '//'): string | null {
  // Only what cannot backtrack is left to the expression: the line is the caller's, and up to 1 MiB long.
  const directive = new RegExp(`^\\s*${comment}\\s*([a-zA-Z][a-zA-Z0-9]*)\\s*=`);
  for (const line of text.split(/\r?\n/)) {
    const [start, key] = directive.exec(line) ?? [];
    if (start === undefined || key === undefined) return null;
    const value = line.slice(start.length);
    if (key.toLowerCase() === 'syntax' && value !== '') return value.trim();
  }
  return null;
}

function findInJson(text: string): string | null {
  try {
    const { syntax } = Object(JSON.parse(text)) as { syntax?: unknown };
    return typeof syntax === 'string' ? syntax : null;
  } catch {
    return null;
  }
}

function invalid(what: string): KilnError {
  return new KilnError('DOCKERFILE_INVALID', `The Dockerfile ${what}.`);
}

function frontendForbidden(what: string): KilnError {
  return new KilnError('FRONTEND_NOT_ALLOWED', `${what}; this service runs BuildKit's own only.`);
}
