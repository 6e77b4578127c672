import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Authenticate, Role } from '../../src/model/caller.ts';
import { createAuthenticator } from '../../src/tokens/authenticate.ts';
import { TokenFolder } from '../../src/tokens/token-folder.ts';

export type Tokens = AsyncDisposable & {
  readonly data: string;
  readonly folder: TokenFolder;
  readonly authenticate: Authenticate;
  /** A new token's text. */
  make(role: Role, tenant?: string): Promise<string>;
};

/** Real tokens in a data folder of their own. */
export async function openTokens(): Promise<Tokens> {
  const data = await mkdtemp(join(tmpdir(), 'kiln-tokens-'));
  const folder = new TokenFolder(data);
  return {
    ...{ data, folder, authenticate: createAuthenticator(folder, { secure: true, proxied: false }) },
    make: async (role, tenant = 'default') =>
      (await folder.create({ role, tenant, name: '', days: null })).text,
    [Symbol.asyncDispose]: () => rm(data, { recursive: true }),
  };
}

export const idOf = (text: string): string => text.split('_')[1] ?? '';
