import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkDockerfileBytes, checkFrontendArgument } from '../../src/context/dockerfile/dockerfile.ts';
import { checkDockerignore } from '../../src/context/dockerfile/dockerignore.ts';
import type { ErrorCode } from '../../src/model/error.ts';
import { type StagedContext, Staging } from './staging.ts';
import { fifo, file, folder, hardlink, type RawMember, symlink, tar } from './tar.ts';

const builtIn = { customFrontends: false };
const anyFrontend = { customFrontends: true };
const MiB = 1024 * 1024;

const dockerfile = file('Dockerfile', 'FROM scratch\n');
const syntax = (name: string): RawMember => file(name, '# syntax=evil/frontend\nFROM scratch\n');

type Case = readonly [row: string, code: ErrorCode | null, members: readonly RawMember[], path?: string];

const contexts: readonly Case[] = [
  ['40: at the path asked', null, [file('a/b.Dockerfile', 'FROM x')], 'a/b.Dockerfile'],
  ['40: at a path with a dot', null, [dockerfile], './Dockerfile'],
  ['40: a link within the context', null, [dockerfile, symlink('link', 'Dockerfile')], 'link'],
  ['40: below a link to a folder', null, [file('real/D', 'FROM x'), symlink('to', './real/')], 'to/D'],
  ['40: a hard link', null, [dockerfile, hardlink('h', 'Dockerfile')], 'h'],
  ['40: none', 'DOCKERFILE_MISSING', [file('other')]],
  ['40: lower case, as BuildKit takes it', null, [file('dockerfile', 'FROM x')]],
  ['40: lower case in a folder', null, [file('a/dockerfile', 'FROM x')], 'a/Dockerfile'],
  [
    '40: lower case behind a link to nothing',
    null,
    [symlink('Dockerfile', 'x'), file('dockerfile', 'FROM x')],
  ],
  ['40: lower case of another name', 'DOCKERFILE_MISSING', [file('my.dockerfile')], 'My.Dockerfile'],
  ['40: upper case', 'DOCKERFILE_MISSING', [file('DOCKERFILE')]],
  ['9: a FIFO', 'ENTRY_TYPE', [fifo('Dockerfile')]],
  ['9: a link to a device', 'ENTRY_TYPE', [{ name: 'null', type: '3' }, symlink('Dockerfile', 'null')]],
  ['9: .dockerignore is a FIFO', 'ENTRY_TYPE', [dockerfile, fifo('.dockerignore')]],
  ['9: a hard link to a FIFO', 'ENTRY_TYPE', [fifo('f'), hardlink('Dockerfile', 'f')]],
  ['43: another frontend in lower case', 'FRONTEND_NOT_ALLOWED', [syntax('dockerfile')]],
  ['40: a folder', 'DOCKERFILE_MISSING', [folder('Dockerfile/')]],
  ['40: below a file', 'DOCKERFILE_MISSING', [dockerfile], 'Dockerfile/x'],
  ['40: outside', 'DOCKERFILE_MISSING', [dockerfile], '../Dockerfile'],
  ['40: a link to an absolute path', 'DOCKERFILE_MISSING', [symlink('Dockerfile', '/etc/passwd')]],
  ['40: a link out', 'DOCKERFILE_MISSING', [dockerfile, symlink('D', '../Dockerfile')], 'D'],
  ['40: a link to nothing', 'DOCKERFILE_MISSING', [symlink('Dockerfile', 'nothing')]],
  ['40: a link to itself', 'DOCKERFILE_MISSING', [symlink('Dockerfile', 'Dockerfile')]],
  ['40: links in a circle', 'DOCKERFILE_MISSING', [symlink('a', 'b/x'), symlink('b', 'a/x')], 'a'],
  ['41: an open bracket', 'DOCKERIGNORE_INVALID', [dockerfile, file('.dockerignore', 'ok\n[\n')]],
  ['41: 10 MB', 'DOCKERIGNORE_INVALID', [dockerfile, file('.dockerignore', 'a\n'.repeat(5 * MiB))]],
  [
    '41: in the file of that Dockerfile',
    'DOCKERIGNORE_INVALID',
    [dockerfile, file('Dockerfile.dockerignore', '[')],
  ],
  [
    '41: not the one that is used',
    null,
    [dockerfile, file('Dockerfile.dockerignore', 'a'), file('.dockerignore', '[')],
  ],
  [
    '41: behind a link',
    'DOCKERIGNORE_INVALID',
    [dockerfile, file('bad', '['), symlink('.dockerignore', 'bad')],
  ],
  ['42: over 1 MiB', 'DOCKERFILE_INVALID', [file('Dockerfile', '#'.repeat(MiB + 1))]],
  ['42: 1 MiB', null, [file('Dockerfile', '#'.repeat(MiB))]],
  ['42: NUL bytes', 'DOCKERFILE_INVALID', [file('Dockerfile', 'FROM x\0')]],
  ['42a: a comment in Latin-1', null, [file('Dockerfile', Buffer.from('# caf\xe9\nFROM x', 'latin1'))]],
  ['42a: CRLF', null, [file('Dockerfile', 'FROM x\r\nRUN y\r\n')]],
  [
    '43: another frontend after a byte order mark, with Latin-1 behind it',
    'FRONTEND_NOT_ALLOWED',
    [file('Dockerfile', Buffer.from('\xef\xbb\xbf# syntax=evil/\xe9\n', 'latin1'))],
  ],
  ['42a: a BOM', null, [file('Dockerfile', '\ufeffFROM scratch\n')]],
  ['43: another frontend', 'FRONTEND_NOT_ALLOWED', [syntax('Dockerfile')]],
  [
    '43: where the kernel finds it, not where the text of the links says',
    'FRONTEND_NOT_ALLOWED',
    [
      folder('a/b/'),
      syntax('a/D'),
      file('D', 'FROM scratch'),
      symlink('l', 'a/b'),
      symlink('Dockerfile', 'l/../D'),
    ],
  ],
];

for (const [row, code, members, path = 'Dockerfile'] of contexts) {
  test(`Dockerfile, row ${row}: ${code ?? 'accepted'}`, async () => {
    await using staging = await Staging.create();
    await using staged = await staging.stage(tar(...members));
    const sealed = staged.seal({ dockerfile: path }, builtIn);
    await (code ? assert.rejects(sealed, { name: 'KilnError', code }) : sealed);
  });
}

test('row 41: .dockerignore beside a Dockerfile that was sent apart', async () => {
  await using staging = await Staging.create();
  const refused = { code: 'DOCKERIGNORE_INVALID' };
  await assert.rejects(staging.stageSealed(tar(file('.dockerignore', '['))), refused);
  await assert.rejects(staging.stageSealed(tar(file('.dockerignore', 'a\n'.repeat(MiB)))), refused);
  const good = tar(file('.dockerignore', '*.log'), file('Dockerfile.dockerignore', '['));
  await using _good = await staging.stageSealed(good);
});

test('row 41: a .dockerignore in UTF-16, as PowerShell writes it, names nothing: a warning says so', async () => {
  const utf16 = Buffer.from('\ufeffnode_modules\r\n', 'utf16le');
  const warning =
    /^'\.dockerignore' is UTF-16, in which BuildKit finds none of its patterns; save it as UTF-8\.$/;
  await using staging = await Staging.create();
  for (const name of ['Dockerfile', null]) {
    await using staged = await staging.stage(tar(dockerfile, file('.dockerignore', utf16)));
    await using sealed = await staged.seal({ dockerfile: name }, builtIn);
    assert.match(String(sealed.summary?.warnings), warning);
  }
});

test('row 12: the Dockerfile of the exact case is used', async () => {
  await using staging = await Staging.create();
  const stage = (): Promise<StagedContext> => staging.stage(tar(syntax('dockerfile'), dockerfile));
  await using _exact = await (await stage()).seal({ dockerfile: 'Dockerfile' }, builtIn);
  await assert.rejects((await stage()).seal({ dockerfile: 'dockerfile' }, builtIn), {
    code: 'FRONTEND_NOT_ALLOWED',
  });
  await using _other = await (await stage()).seal({ dockerfile: 'dockerfile' }, anyFrontend);
});

/** Each was compared with parser.DetectSyntax of BuildKit v0.20.2. */
const named: readonly string[] = [
  '# syntax=docker/dockerfile:1',
  '#syntax=evil',
  '#  SYNTAX  =  evil  --flag',
  '# escape=`\n# syntax=evil',
  '# check=skip=all\n# syntax=evil',
  '# escape=a\rb\n# syntax=evil',
  '# escape=a\u2028b\n# syntax=evil',
  '# escape= \n# syntax=evil',
  '\ufeff# syntax=evil',
  '#!/usr/bin/env docker\n# syntax=evil',
  '#!/bin/x\r\n# syntax=evil\r\n',
  '// syntax=evil',
  '#!/bin/x\n//syntax=evil',
  '{"syntax": "evil"}',
  '\n {"a": "b", "s\\u0079ntax": "evil"}\n',
  '{"syntax": "no", "syntax": "evil"}',
];
for (const text of named) {
  test(`row 43: the frontend of ${JSON.stringify(text)} is found`, () => {
    assert.throws(() => checkDockerfileBytes(Buffer.from(text), builtIn), { code: 'FRONTEND_NOT_ALLOWED' });
    checkDockerfileBytes(Buffer.from(text), anyFrontend);
  });
}

const unnamed: readonly string[] = [
  'FROM scratch\n# syntax=evil',
  '\n# syntax=evil',
  '# a comment\n# syntax=evil',
  '# escape=`\nFROM scratch',
  '# syntax=',
  'RUN echo {"syntax": "evil"}',
  '{"other": "evil"}',
  '{"syntax": "evil"',
  '',
];
for (const text of unnamed) {
  test(`row 43: ${JSON.stringify(text)} names no frontend`, () => {
    checkDockerfileBytes(Buffer.from(text), builtIn);
  });
}

test('row 42: a Dockerfile of PowerShell, in UTF-16, is told of by that name', () => {
  const text = '\ufeffFROM scratch\r\n';
  for (const bytes of [Buffer.from(text, 'utf16le'), Buffer.from(text, 'utf16le').swap16()]) {
    const message = 'The Dockerfile is UTF-16, which BuildKit cannot read; save it as UTF-8.';
    assert.throws(() => checkDockerfileBytes(bytes, builtIn), { code: 'DOCKERFILE_INVALID', message });
  }
});

test('row 43: a directive of 1 MiB of spaces takes no time', () => {
  const text = `# escape=${`x${' '.repeat(1000)}`.repeat(1000)}\n# syntax=${' '.repeat(20_000)}evil`;
  const started = performance.now();
  assert.throws(() => checkDockerfileBytes(Buffer.from(text), builtIn), { code: 'FRONTEND_NOT_ALLOWED' });
  assert.ok(performance.now() - started < 500);
});

test('row 43: the build argument BUILDKIT_SYNTAX is refused unless the policy allows it', () => {
  const buildArgs = { A: '1', BUILDKIT_SYNTAX: 'evil' };
  assert.throws(() => checkFrontendArgument(buildArgs, builtIn), { code: 'FRONTEND_NOT_ALLOWED' });
  checkFrontendArgument(buildArgs, anyFrontend);
  checkFrontendArgument({ A: '1', buildkit_syntax: 'x' }, builtIn);
});

/**
 * Compared with ignorefile.ReadAll and patternmatcher.New, v0.6.0, which BuildKit v0.20.2 uses: whatever they refuse must be
 * refused. Behind a `*` they look only while matching.
 */
const patterns: readonly (readonly [line: string, valid: boolean])[] = [
  ['node_modules', true],
  ['**/*.log', true],
  ['!keep', true],
  ['! keep', true],
  ['# [', true],
  ['  ', true],
  ['[a-z]', true],
  ['[^a-z]x', true],
  ['[\\]]', true],
  ['[\\-x]', true],
  ['a]', true],
  ['\\[', true],
  ['[/..', true],
  ['[z-a]', true],
  ['[', false],
  ['a[', false],
  ['[]', false],
  ['[]a]', false],
  ['[^]', false],
  ['[^]a]', false],
  ['[a', false],
  ['[a-', false],
  ['[a-]', false],
  ['[-a]', false],
  ['[a-\\', false],
  ['a\\', false],
  ['a\\/', false],
  ['!', false],
  ['!  ', false],
  ['!/', false],
  ['/!', false],
  ['a\\ /', false],
  ['![', false],
  [' [', false],
  ['*/[a', false],
  ['a'.repeat(65_535), true],
  ['a'.repeat(65_536), false],
];
for (const [line, valid] of patterns) {
  test(`row 41: .dockerignore line ${JSON.stringify(line.slice(0, 20))} is ${valid ? 'valid' : 'refused'}`, () => {
    const check = (): void => checkDockerignore(Buffer.from(`\ufeffa\n${line}\n`));
    if (valid) check();
    else assert.throws(check, { code: 'DOCKERIGNORE_INVALID', message: /^Line 2 of \.dockerignore/ });
  });
}

const hints: readonly (readonly [
  what: string,
  members: readonly RawMember[],
  hint: RegExp,
  path?: string,
])[] = [
  [
    'nothing like one',
    [file('a/x')],
    /^There is no Dockerfile at 'Dockerfile' in the context; name it with dockerfile=PATH\.$/,
  ],
  ['a Containerfile', [file('Containerfile')], /dockerfile=Containerfile\.$/],
  ['one folder with one', [file('proj-main/Dockerfile'), file('x/y')], /context-dir=proj-main\.$/],
  ['one in lower case', [file('proj-main/dockerfile')], /context-dir=proj-main\.$/],
  ['one in a folder of a folder', [file('a/b/Dockerfile')], /context-dir=a\/b\.$/],
  ['one at the same path in a folder', [file('p/docker/D')], /context-dir=p\.$/, 'docker/D'],
  ['two folders with one', [file('a/Dockerfile'), file('b/Dockerfile')], /dockerfile=PATH\.$/],
  ['a folder with an escape in its name', [file('\x1b[2J/Dockerfile')], /context-dir=\\u001b\[2J\.$/],
];
for (const [what, members, message, path = 'Dockerfile'] of hints) {
  test(`row 40: the error for a missing Dockerfile names what is there: ${what}`, async () => {
    await using staging = await Staging.create();
    await using staged = await staging.stage(tar(...members));
    await assert.rejects(staged.seal({ dockerfile: path }, builtIn), { code: 'DOCKERFILE_MISSING', message });
  });
}

test('row 40: a lower-case dockerfile is taken with a warning', async () => {
  await using staging = await Staging.create();
  await using staged = await staging.stage(tar(file('a/dockerfile')));
  await using sealed = await staged.seal({ dockerfile: 'a/Dockerfile' }, builtIn);
  const warnings = ["There is no 'a/Dockerfile' in the context; 'a/dockerfile' was used."];
  assert.deepEqual(sealed.summary?.warnings, warnings);
});
