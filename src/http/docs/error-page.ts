import { type ErrorCode, errorKinds } from '../../model/error.ts';
import { statusOfKind } from '../error-table.ts';
import { errorSentences } from './error-sentences.ts';

/** What `type` of every problem points to: one section a code. */
export function renderErrorPage(): string {
  const codes = Object.keys(errorKinds) as ErrorCode[];
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>kiln errors</title>
<h1>Errors</h1>
<p>The codes are the same over HTTP (<code>code</code> of application/problem+json) and gRPC (<code>reason</code> of ErrorInfo).</p>
${codes.map(renderCode).join('\n')}
</html>
`;
}

function renderCode(code: ErrorCode): string {
  return `<h2 id="${code}">${code}</h2>
<p>HTTP ${statusOfKind[errorKinds[code]]}. ${escapeHtml(errorSentences[code])}</p>`;
}

function escapeHtml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}
