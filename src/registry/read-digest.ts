import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { withDeadline } from '../lib/abort.ts';
import { printable } from '../lib/text.ts';
import { KilnError } from '../model/error.ts';
import { parseImageReference } from '../model/image-reference.ts';
import { isOnHost } from '../model/output.ts';
import { dockerHub, type RegistryAccount, type RegistryAccounts } from '../model/registry-accounts.ts';
import { type Answer, askRegistry, type Dial, digestOf } from './ask-registry.ts';

/**
 * The digest of what a name leads to in its registry, of the bytes themselves, by the accounts that pushed it.
 * @returns null where there is nothing
 * @throws KilnError REGISTRY_UNAVAILABLE after the last try, REGISTRY_AUTH, REGISTRY_REFUSED; the signal's reason on abort
 */
export type ReadDigest = (
  name: string,
  accounts: RegistryAccounts,
  signal: AbortSignal,
) => Promise<string | null>;

const manifestTypes = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.docker.distribution.manifest.v2+json',
].join(', ');

const deadlineMs = 60_000;
const standardWaitsMs: readonly number[] = [1000, 5000];

/** Docker Hub's name is not that of its registry. */
const hosts: Readonly<Record<string, string>> = { 'docker.io': 'registry-1.docker.io' };

const tokenSchema = z.object({ token: z.string().optional(), access_token: z.string().optional() });

/** @param options.waitsMs before the second try, the third … */
export function createDigestReader({
  dial,
  waitsMs = standardWaitsMs,
}: {
  readonly dial: Dial;
  readonly waitsMs?: readonly number[];
}): ReadDigest {
  return async (name, accounts, signal) => {
    for (let tries = 1; ; tries += 1) {
      const found = await readOnce(name, accounts, dial, signal);
      if (!(found instanceof KilnError)) return found;
      const waitMs = waitsMs[tries - 1];
      if (found.code !== 'REGISTRY_UNAVAILABLE' || waitMs === undefined) throw found;
      await sleep(waitMs, undefined, { signal });
    }
  };
}

/** What went wrong is returned; an abort is thrown. */
async function readOnce(
  name: string,
  accounts: RegistryAccounts,
  dial: Dial,
  signal: AbortSignal,
): Promise<string | null | KilnError> {
  const reason = (): Error => new Error(`it did not answer within ${deadlineMs / 1000} s`);
  try {
    const answer = await withDeadline({ ms: deadlineMs, signal, reason }, (linked) =>
      readManifest(name, accounts, dial, linked),
    );
    if (answer.status === 404) return null;
    return answer.status === 200 ? digestOf(answer.body) : refused(name, answer.status);
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof KilnError) return error;
    const why = error instanceof Error ? printable(error.message) : 'no reason given';
    return new KilnError('REGISTRY_UNAVAILABLE', `${unread(name)}: ${why}.`, { cause: error });
  }
}

async function readManifest(
  name: string,
  accounts: RegistryAccounts,
  dial: Dial,
  signal: AbortSignal,
): Promise<Answer> {
  const { domain = '', repository = '', tag = 'latest' } = parseImageReference(name) ?? {};
  const registry = hosts[domain] ?? domain;
  const scheme = isOnHost(name) ? 'http' : 'https';
  const url = new URL(`${scheme}://${registry}/v2/${repository}/manifests/${tag}`);
  const account = accounts[domain === 'docker.io' ? dockerHub : domain] ?? {};
  const read = (authorization: string | null): Promise<Answer> => {
    const headers = {
      Accept: manifestTypes,
      ...(authorization !== null && { Authorization: authorization }),
    };
    return askRegistry({ url, headers }, dial, signal);
  };
  const first = await read(null);
  if (first.status !== 401) return first;
  const challenge = first.headers['www-authenticate'] ?? '';
  const authorization = /^bearer /i.test(challenge)
    ? await fetchToken(challenge, { repository, account, plainHttp: scheme === 'http' }, dial, signal)
    : basic(account);
  return authorization === null ? first : read(authorization);
}

/** https://distribution.github.io/distribution/spec/auth/token/ */
async function fetchToken(
  challenge: string,
  { repository, account, plainHttp }: { repository: string; account: RegistryAccount; plainHttp: boolean },
  dial: Dial,
  signal: AbortSignal,
): Promise<string | null> {
  if (account.registrytoken !== undefined) return `Bearer ${account.registrytoken}`;
  const parameters = new Map(
    [...challenge.matchAll(/(\w+)="([^"]*)"/g)].map(([, key = '', value = '']) => [key.toLowerCase(), value]),
  );
  const realm = URL.parse(parameters.get('realm') ?? '');
  // A password goes nowhere in the clear, but to a registry that is spoken to so.
  if (!realm || (realm.protocol !== 'https:' && !(plainHttp && realm.protocol === 'http:'))) return null;
  const service = parameters.get('service') ?? '';
  const scope = `repository:${repository}:pull`;
  const { identitytoken } = account;
  let answer: Answer;
  if (identitytoken === undefined) {
    for (const [key, value] of Object.entries({ service, scope })) realm.searchParams.set(key, value);
    const authorization = basic(account);
    const headers = authorization === null ? {} : { Authorization: authorization };
    answer = await askRegistry({ url: realm, headers }, dial, signal);
  } else {
    const grant = { grant_type: 'refresh_token', client_id: 'kiln', refresh_token: identitytoken };
    const form = new URLSearchParams({ ...grant, service, scope });
    answer = await askRegistry({ url: realm, headers: {}, form }, dial, signal);
  }
  if (answer.status !== 200) return null;
  const given = tokenSchema.parse(JSON.parse(answer.body.toString('utf8')));
  const token = given.token ?? given.access_token;
  return token === undefined ? null : `Bearer ${token}`;
}

function basic({ auth }: RegistryAccount): string | null {
  return auth === undefined ? null : `Basic ${auth}`;
}

function refused(name: string, status: number): KilnError {
  const message = `${unread(name)}: the registry answered ${status}.`;
  if (status === 401 || status === 403)
    return new KilnError('REGISTRY_AUTH', `${message} The account must be one that may read there, too.`);
  if (status >= 500 || status === 429) return new KilnError('REGISTRY_UNAVAILABLE', message);
  return new KilnError('REGISTRY_REFUSED', message);
}

function unread(name: string): string {
  return `'${printable(name)}' was pushed, as BuildKit says, and could not be read back from its registry`;
}
