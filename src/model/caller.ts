import { KilnError } from './error.ts';

/** What a caller may do; each role may do what those before it may. */
export const roles = ['read', 'build', 'admin'] as const;
export type Role = (typeof roles)[number];

/** Who calls: every use-case takes one first. The edges make it, of a token or of the lack of any. */
export type Caller = {
  /** Whose builds it sees and makes; those of others do not exist for it. */
  readonly tenant: string;
  readonly role: Role;
  /** Id of the token that let it in. */
  readonly token?: string;
};

/** The tenant of whoever names none, and of every build from before there were tenants. */
export const defaultTenant = 'default';

/** Whoever calls from this machine while there are no tokens. */
export const localAdmin: Caller = { tenant: defaultTenant, role: 'admin' };

/** What a request shows of who sent it. */
export type Credentials = {
  /** The Authorization header or metadata, as it came. */
  readonly authorization: string | undefined;
  /** IP address that the connection comes from; undefined once it is closed. */
  readonly address: string | undefined;
};

/** Finds out who calls. */
export type Authenticate = (credentials: Credentials) => Promise<Caller>;

/** @throws KilnError ROLE_TOO_LOW */
export function requireRole(caller: Caller, least: Role): void {
  if (roles.indexOf(caller.role) >= roles.indexOf(least)) return;
  const message = `This needs the role ${least}; the token has the role ${caller.role}.`;
  throw new KilnError('ROLE_TOO_LOW', message);
}
