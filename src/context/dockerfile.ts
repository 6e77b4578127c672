import { printable } from '../lib/text.ts';
import type { DockerfilePolicy } from '../model/context.ts';
import { KilnError } from '../model/error.ts';

export const maxDockerfileBytes = 1024 * 1024;

/** @throws KilnError DOCKERFILE_INVALID, FRONTEND_NOT_ALLOWED */
export function checkDockerfileBytes(bytes: Buffer, policy: DockerfilePolicy): void {
  if (bytes.length > maxDockerfileBytes) throw invalid(`is larger than ${maxDockerfileBytes} bytes`);
  if (bytes.includes(0)) throw invalid('has NUL bytes; it must be text');
  const text = decode(bytes);
  const frontend = policy.customFrontends ? null : findSyntaxDirective(text);
  if (frontend !== null)
    throw frontendForbidden(`The Dockerfile asks for the frontend '${printable(frontend)}'`);
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
 * comments, after a shebang, or a JSON object (frontend/dockerfile/parser/directives.go).
 */
export function findSyntaxDirective(text: string): string | null {
  const body = text.replace(/^\ufeff/, '').replace(/^#!.*\n/, '');
  return findInComments(body, '#') ?? findInComments(body, '//') ?? findInJson(body);
}

function findInComments(text: string, comment: '#' | '//'): string | null {
  for (const line of text.split('\n')) {
    const [, key, value] =
      new RegExp(`^\\s*${comment}\\s*([a-zA-Z][a-zA-Z0-9]*)\\s*=\\s*(.+?)\\s*$`).exec(line) ?? [];
    if (key === undefined || value === undefined) return null;
    if (key.toLowerCase() === 'syntax') return value;
  }
  return null;
}

function findInJson(text: string): string | null {
  return /^\s*\{[\s\S]*?"syntax"\s*:\s*"((?:[^"\\]|\\.)*)"/i.exec(text)?.[1] ?? null;
}

function decode(bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw invalid('is not valid UTF-8');
  }
}

function invalid(what: string): KilnError {
  return new KilnError('DOCKERFILE_INVALID', `The Dockerfile ${what}.`);
}

function frontendForbidden(what: string): KilnError {
  return new KilnError('FRONTEND_NOT_ALLOWED', `${what}; this service runs BuildKit's own only.`);
}
