import { z } from 'zod';
import { printable } from '../lib/text.ts';
import { KilnError } from './error.ts';

/**
 * Accounts of registries as Docker knows them, in either of two forms: the `auths` of a docker config.json, and the map of hosts to
 * accounts of the header X-Registry-Config. Both become one docker config.json, which BuildKit's client reads.
 */

/** What is known of one registry; nobody but BuildKit, and the registry, gets to see it. */
export type RegistryAccount = {
  /** base64 of `USER:PASSWORD`. */
  readonly auth?: string;
  readonly identitytoken?: string;
  readonly registrytoken?: string;
};
/** By host, with its port where that is named. */
export type RegistryAccounts = Readonly<Record<string, RegistryAccount>>;

/** The JSON, in bytes: that of X-Registry-Config in its header cannot be longer anyway. */
const maxRegistryConfigBytes = 64 * 1024;
const maxAccounts = 32;

const text = z.string().max(16 * 1024);
const accountSchema = z.object({
  username: text.optional(),
  password: text.optional(),
  auth: text.optional(),
  identitytoken: text.optional(),
  registrytoken: text.optional(),
});
const accountsSchema = z.record(z.string().max(300), accountSchema);
const configSchema = z.object({ auths: accountsSchema });

/** How Docker writes Docker Hub down (cli/config/configfile), and BuildKit looks for it. */
export const dockerHub = 'https://index.docker.io/v1/';
const dockerHubHosts = ['docker.io', 'index.docker.io', 'registry-1.docker.io'];

/** @param field What the caller calls it. @throws KilnError PARAM_INVALID, which quotes nothing of what was given but hosts */
export function parseRegistryConfig(json: string, field: string): RegistryAccounts {
  const refuse = (problem: string): KilnError =>
    new KilnError('PARAM_INVALID', `Field '${field}': ${problem}.`, { details: { field } });
  if (Buffer.byteLength(json) > maxRegistryConfigBytes)
    throw refuse(`it is longer than ${maxRegistryConfigBytes} bytes`);
  const given = readAccounts(json);
  if (!given)
    throw refuse(
      'it must be JSON as Docker has it: {"HOST": {"username": …, "password": …}}, or a config.json with {"auths": {"HOST": {"auth": …}}}',
    );
  if (Object.keys(given).length > maxAccounts) throw refuse(`at most ${maxAccounts} registries are taken`);
  const accounts: Record<string, RegistryAccount> = {};
  for (const [name, account] of Object.entries(given)) {
    const host = hostOf(name);
    if (host === null) throw refuse(`'${printable(name, 100)}' is not the host of a registry`);
    if (Object.hasOwn(accounts, host)) throw refuse(`${printable(host, 100)} is named twice`);
    const complete = completeAccount(account);
    if (complete === null)
      throw refuse(
        `${printable(host, 100)} has no account in it: neither username and password, auth, identitytoken nor registrytoken; a config.json may keep its accounts in a credential store, which stays on your machine`,
      );
    accounts[host] = complete;
  }
  return accounts;
}

/**
 * The header X-Registry-Config: base64 of the JSON, in either alphabet, padded or not.
 * @throws KilnError PARAM_INVALID
 */
export function parseRegistryHeader(header: string): RegistryAccounts {
  const field = 'X-Registry-Config';
  if (!/^[A-Za-z0-9+/_-]*={0,2}$/.test(header))
    throw new KilnError('PARAM_INVALID', `The header ${field} must be base64url of JSON.`, {
      details: { field },
    });
  return parseRegistryConfig(Buffer.from(header, 'base64url').toString('utf8'), field);
}

function readAccounts(json: string): z.output<typeof accountsSchema> | null {
  let given: unknown;
  try {
    given = JSON.parse(json);
  } catch {
    return null;
  }
  const isConfig = typeof given === 'object' && given !== null && 'auths' in given;
  return isConfig
    ? (configSchema.safeParse(given).data?.auths ?? null)
    : (accountsSchema.safeParse(given).data ?? null);
}

/** `https://HOST/v1/` is what old Dockers wrote. */
function hostOf(name: string): string | null {
  const host = name.replace(/^https?:\/\//, '').replace(/\/.*$/, '');
  if (dockerHubHosts.includes(host)) return dockerHub;
  return /^(?:[a-zA-Z0-9][a-zA-Z0-9.-]*|\[[0-9a-fA-F:]+\])(?::\d{1,5})?$/.test(host) ? host : null;
}

function completeAccount({
  username,
  password,
  auth = '',
  identitytoken = '',
  registrytoken = '',
}: z.output<typeof accountSchema>): RegistryAccount | null {
  const pair = username && password ? Buffer.from(`${username}:${password}`).toString('base64') : auth;
  const account = {
    ...(pair !== '' && { auth: pair }),
    ...(identitytoken !== '' && { identitytoken }),
    ...(registrytoken !== '' && { registrytoken }),
  };
  return Object.keys(account).length === 0 ? null : account;
}
