import { AuditLog } from '../audit/audit-log.ts';
import { KilnError } from '../model/error.ts';
import { type TokenRequest, tokenRequest } from '../tokens/token.ts';
import { TokenFolder } from '../tokens/token-folder.ts';
import type { Command, CommandArguments, CommandContext } from './command.ts';
import { ownDataFolder } from './own-data-folder.ts';

export const tokenCommands: readonly Command[] = [
  {
    name: 'token create',
    takes: '--role build|read|admin [--tenant NAME] [--name TEXT] [--days NUMBER]',
    summary:
      'Makes a token and prints it, this once; it lets in for so many days, or until it is revoked. From the first one on nobody is served without.',
    options: ['role', 'tenant', 'name', 'days'],
    words: 0,
    async run({ options }, context) {
      const request = readRequest(options);
      const tokens = await openTokens(context);
      const first = !(await tokens.required());
      const { id, text } = await tokens.create(request);
      await audit(context, { action: 'token.create', tenant: request.tenant, subject: id });
      context.say(
        `kiln: token ${id} in ${tokens.path}, role ${request.role}, tenant ${request.tenant}. It cannot be shown again:`,
      );
      context.answer(text);
      if (first) context.say('kiln: from now on every caller needs a token.');
    },
  },
  {
    name: 'token list',
    takes: '',
    summary: 'Lists the tokens: id, role, tenant, when it was made, when it expires, name.',
    options: [],
    words: 0,
    async run(_given, context) {
      const tokens = await (await openTokens(context)).list();
      for (const { id, role, tenant, created, expires, name } of tokens) {
        const until = (expires ?? 'never').padEnd(created.length);
        const line = `${id}  ${role.padEnd(5)}  ${tenant.padEnd(16)}  ${created}  ${until}  ${name}`;
        context.answer(line.trimEnd());
      }
    },
  },
  {
    name: 'token revoke',
    takes: 'ID',
    summary: 'Revokes a token: from then on no request is let in by it. What it began goes on.',
    options: [],
    words: 1,
    async run({ words: [id = ''] }, context) {
      const tokens = await openTokens(context);
      await tokens.revoke(id);
      await audit(context, { action: 'token.revoke', tenant: null, subject: id });
      context.say(`kiln: token ${id} is revoked.`);
      if (await tokens.any()) return;
      context.say(
        `kiln: it was the last one: nobody is served any more. Make another, or remove ${tokens.path} to serve this machine without tokens.`,
      );
    },
  },
];

function readRequest(options: CommandArguments['options']): TokenRequest {
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
  const parsed = tokenRequest.safeParse(given);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new KilnError('PARAM_INVALID', `--${issue?.path.join('.')} ${issue?.message}.`);
}

async function audit(
  context: CommandContext,
  done: { readonly action: string; readonly tenant: string | null; readonly subject: string },
): Promise<void> {
  const log = new AuditLog(await ownDataFolder(context));
  await log.append({ ...done, role: 'admin', token: null, outcome: 'ok' });
}

async function openTokens(context: CommandContext): Promise<TokenFolder> {
  return new TokenFolder(await ownDataFolder(context));
}
