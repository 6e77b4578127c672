import { isLoopback } from '../lib/loopback.ts';
import { type Authenticate, localAdmin } from '../model/caller.ts';
import { KilnError } from '../model/error.ts';
import { isSecretOf, parseToken } from './token.ts';
import type { TokenFolder } from './token-folder.ts';

/**
 * Who calls, by the token of the request. It is looked up anew for each, so that a token that was made or revoked meanwhile counts at
 * once; what a revoked one began goes on. While no token was ever made, this machine's own users are served without.
 */
export function createAuthenticator(tokens: Pick<TokenFolder, 'required' | 'find'>): Authenticate {
  return async ({ authorization, address }) => {
    const given = /^Bearer +(\S+)$/i.exec(authorization ?? '')?.[1];
    if (!(await tokens.required())) {
      if (given !== undefined) throw invalid('This service knows no tokens; call it without one.');
      if (address !== undefined && isLoopback(address)) return localAdmin;
      throw missing('Without tokens only the machine that this service runs on is served.');
    }
    if (given === undefined) throw missing('Send a token: Authorization: Bearer kiln_….');
    const parsed = parseToken(given);
    const kept = parsed && (await tokens.find(parsed.id));
    if (!kept || !isSecretOf(kept, parsed.secret))
      throw invalid('The token is not one of this service, or was revoked.');
    return { tenant: kept.tenant, role: kept.role };
  };
}

function missing(message: string): KilnError {
  return new KilnError('TOKEN_MISSING', message);
}

function invalid(message: string): KilnError {
  return new KilnError('TOKEN_INVALID', message);
}
