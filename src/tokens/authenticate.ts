import { isLoopback } from '../lib/loopback.ts';
import { type Authenticate, localAdmin } from '../model/caller.ts';
import { KilnError } from '../model/error.ts';
import { isExpired, isSecretOf, parseToken } from './token.ts';
import type { TokenFolder } from './token-folder.ts';

/**
 * Who calls, by the token of the request. It is looked up anew for each, so that a token that was made or revoked meanwhile counts at
 * once; what a revoked one began goes on. While no token was ever made, this machine's own users are served without.
 * @param secure Whether what comes from other machines came over TLS. Else no token of theirs is taken: others may have read it, too.
 * @param proxied Whether all may come through a proxy on this machine: then its own users are not known from strangers.
 */
export function createAuthenticator(
  tokens: Pick<TokenFolder, 'required' | 'find'>,
  { secure, proxied }: { secure: boolean; proxied: boolean },
): Authenticate {
  return async ({ authorization, address }) => {
    const local = address !== undefined && isLoopback(address);
    const given = /^Bearer +(\S+)$/i.exec(authorization ?? '')?.[1];
    const parsed = given === undefined ? null : parseToken(given);
    if (!(await tokens.required())) {
      if (parsed) throw invalid('This service knows no tokens; call it without one.');
      if (local && !proxied) return localAdmin;
      throw missing(
        'Without tokens only the machine that this service runs on is served, and nobody through a proxy.',
      );
    }
    if (!secure && !local) throw inTheClear();
    if (given === undefined) throw missing('Send a token: Authorization: Bearer kiln_….');
    const kept = parsed && (await tokens.find(parsed.id));
    if (!kept || !isSecretOf(kept, parsed.secret))
      throw invalid('The token is not one of this service, or was revoked.');
    if (isExpired(kept)) throw invalid(`The token has expired: ${kept.expires}.`);
    return { tenant: kept.tenant, role: kept.role, token: kept.id };
  };
}

function inTheClear(): KilnError {
  return new KilnError(
    'TLS_REQUIRED',
    'Tokens are not taken in the clear; revoke one that was sent. The service needs KILN_TLS_CERT and KILN_TLS_KEY, or KILN_TLS_ENDED_BY_PROXY=true behind a proxy that ends TLS.',
  );
}

function missing(message: string): KilnError {
  return new KilnError('TOKEN_MISSING', message);
}

function invalid(message: string): KilnError {
  return new KilnError('TOKEN_INVALID', message);
}
