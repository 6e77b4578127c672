import assert from 'node:assert/strict';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { runCommand } from '../../src/cli/run-command.ts';
import { parseConfig } from '../../src/config/config.ts';
import { createAuthenticator } from '../../src/tokens/authenticate.ts';
import { TokenFolder } from '../../src/tokens/token-folder.ts';
import { readAudit } from '../audit/read-audit.ts';
import { type Ended, runProgram } from '../run-program.ts';
import { openTokens } from '../tokens/harness.ts';

/** `npm run kiln -- …` */
function kiln(data: string, ...args: readonly string[]): Promise<Ended> {
  return runProgram('scripts/kiln.ts', args, { KILN_DATA_DIR: data });
}

async function withFolder(work: (parent: string) => Promise<void>): Promise<void> {
  const parent = await mkdtemp(join(tmpdir(), 'kiln-cli-'));
  try {
    await work(parent);
  } finally {
    await rm(parent, { recursive: true });
  }
}

test('a token that is made, listed and revoked by the command lets in, and then no more, beside a running service', () =>
  withFolder(async (parent) => {
    const data = join(parent, 'not/there/yet');
    const authenticate = createAuthenticator(new TokenFolder(data), { secure: true, proxied: false });
    const made = await kiln(data, 'token', 'create', '--role', 'build', '--tenant', 'team-a', '--name', 'CI');
    assert.equal(made.status, 0, made.stderr);
    // The token alone is on standard output, for $(…).
    const token = /^(kiln_([0-9a-f]{12})_\S{43})\n$/.exec(made.stdout) ?? assert.fail(made.stdout);
    assert.match(
      made.stderr,
      / in \S+\/not\/there\/yet\/tokens, role build, tenant team-a\. It cannot be shown again:\n.*every caller needs a token/,
    );
    assert.ok(!made.stderr.includes(token[1] ?? ''));
    const credentials = { authorization: `Bearer ${token[1]}`, address: '127.0.0.1' };
    const caller = { tenant: 'team-a', role: 'build', token: token[2] };
    assert.deepEqual(await authenticate(credentials), caller);

    const listed = await kiln(data, 'token', 'list');
    assert.match(listed.stdout, new RegExp(`^${token[2]} {2}build {2}team-a +20\\S+Z {2}never {21}CI\\n$`));
    assert.ok(!listed.stdout.includes(token[1]?.slice(-43) ?? ''));

    const revoked = await kiln(data, 'token', 'revoke', token[2] ?? '');
    assert.deepEqual([revoked.status, revoked.stdout], [0, '']);
    assert.match(revoked.stderr, /is revoked\.\n.*last one.*remove \S+\/tokens/);
    await assert.rejects(authenticate(credentials), { code: 'TOKEN_INVALID' });
    assert.equal((await kiln(data, 'token', 'list')).stdout, '');
    const entries = await readAudit(data);
    assert.deepEqual(
      entries.map(({ action, subject, tenant, outcome }) => [action, subject, tenant, outcome]),
      [
        ['token.create', token[2], 'team-a', 'ok'],
        ['token.revoke', token[2], null, 'ok'],
      ],
    );
    // QEMU's users pass through the data folder.
    assert.equal((await stat(data)).mode & 0o777, 0o711);
  }));

test('what is asked for wrongly is told in a sentence, and makes nothing', () =>
  withFolder(async (parent) => {
    const data = join(parent, 'data');
    for (const [args, told] of [
      [['token'], /^kiln: There is no command 'token'; .*--help/],
      [['token', 'creates'], /^kiln: There is no command 'token creates'/],
      [['token', 'create'], /^kiln: --role must be one of read, build, admin\.\n$/],
      [['token', 'create', '--role', 'owner'], /^kiln: --role must be one of read, build, admin\.\n$/],
      [['token', 'create', '--role', 'read', '--tenant', '../x'], /^kiln: --tenant must be at most 63 /],
      [['token', 'create', '--role', 'read', '--name', 'a\u001b[2J'], /^kiln: --name must be at most 100 /],
      [
        ['token', 'create', '--role', 'read', '--days', '0'],
        /^kiln: --days must be a number from 1 to 9999\.\n$/,
      ],
      [
        ['token', 'create', '--scope', 'x'],
        /^kiln: Unknown option '--scope'\. Write: npm run kiln -- token create --role/,
      ],
      [['token', 'list', 'all'], /^kiln: Write: npm run kiln -- token list\n$/],
      [['token', 'revoke'], /^kiln: Write: npm run kiln -- token revoke ID\n$/],
      [['token', 'revoke', '../../x'], /^kiln: There is no token \.\.\/\.\.\/x; /],
    ] as const) {
      const { status, stdout, stderr } = await kiln(data, ...args);
      assert.deepEqual([status, stdout], [1, ''], args.join(' '));
      assert.match(stderr, told);
    }
    await assert.rejects(stat(data), { code: 'ENOENT' });
  }));

test('--help lists the commands', () =>
  withFolder(async (parent) => {
    for (const args of [[], ['help'], ['--help'], ['token', 'create', '--help']]) {
      const { status, stdout } = await kiln(join(parent, 'data'), ...args);
      assert.equal(status, 0);
      for (const command of ['token create', 'token list', 'token revoke', 'key'])
        assert.ok(stdout.includes(command));
    }
  }));

test('the data folder of another user is left alone: that user could not read what was written', async () => {
  await using tokens = await openTokens();
  const owner = 1 + (process.getuid?.() ?? 0);
  const config = parseConfig({ KILN_DATA_DIR: tokens.data }, true);
  const fail = (): void => assert.fail('it said something');
  const run = runCommand(['token', 'create', '--role', 'read'], () => ({
    ...{ config, uid: owner, token: null, signal: new AbortController().signal },
    ...{ answer: fail, say: fail, print: fail },
  }));
  await assert.rejects(run, {
    code: 'CONFIG_INVALID',
    message: `${tokens.data} belongs to the user ${owner - 1}; run this as that user, or set KILN_DATA_DIR.`,
  });
  assert.equal(await tokens.folder.required(), false);
});
