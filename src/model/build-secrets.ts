import { printable } from '../lib/text.ts';
import { KilnError } from './error.ts';
import type { RegistryAccounts } from './registry-accounts.ts';

/** What a build was given that nobody may see, by name: hosts of registries, and ids. */
export type SecretNames = {
  readonly registries: readonly string[];
  readonly secrets: readonly string[];
  readonly sshKeys: readonly string[];
};

/** One secret or key. */
export type GivenSecret = { readonly id: string; readonly value: Buffer };

/** Of one secret; BuildKit takes no larger ones (session/secrets/secretsprovider). */
const maxSecretBytes = 500 * 1024;
/** Of secrets and keys together. */
const maxSecretsBytes = 1024 * 1024;
/** Secrets, and as many keys. */
export const maxSecrets = 16;

const idRule = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;

/**
 * What a build may use and nobody may see: accounts of registries, secrets for `RUN --mount=type=secret`, keys for `--mount=type=ssh`.
 * It lives in kiln's memory and in that of the build's VM: never in a file, the database, a log or a command line. It shows its names
 * alone, whoever prints it or makes JSON of it.
 */
export class BuildSecrets {
  static readonly none = BuildSecrets.of({});
  readonly #accounts: RegistryAccounts;
  readonly #secrets: readonly GivenSecret[];
  readonly #sshKeys: readonly GivenSecret[];

  private constructor(
    accounts: RegistryAccounts,
    secrets: readonly GivenSecret[],
    sshKeys: readonly GivenSecret[],
  ) {
    this.#accounts = accounts;
    this.#secrets = secrets;
    this.#sshKeys = sshKeys;
  }

  /** @throws KilnError SECRET_INVALID */
  static of({
    accounts = {},
    secrets = [],
    sshKeys = [],
  }: {
    readonly accounts?: RegistryAccounts;
    readonly secrets?: readonly GivenSecret[];
    readonly sshKeys?: readonly GivenSecret[];
  }): BuildSecrets {
    check('secret', secrets);
    check('ssh', sshKeys);
    checkSecretsSize([...secrets, ...sshKeys].reduce((sum, { value }) => sum + value.length, 0));
    return new BuildSecrets(accounts, secrets, sshKeys);
  }

  get names(): SecretNames {
    return {
      registries: Object.keys(this.#accounts),
      secrets: this.#secrets.map(({ id }) => id),
      sshKeys: this.#sshKeys.map(({ id }) => id),
    };
  }

  get accounts(): RegistryAccounts {
    return this.#accounts;
  }

  get secrets(): readonly GivenSecret[] {
    return this.#secrets;
  }

  get sshKeys(): readonly GivenSecret[] {
    return this.#sshKeys;
  }

  toJSON(): SecretNames {
    return this.names;
  }
}

/** Whether a build was given none. */
export function hasNone({ registries, secrets, sshKeys }: SecretNames): boolean {
  return registries.length + secrets.length + sshKeys.length === 0;
}

/** @param bytes that came so far @throws KilnError SECRET_INVALID */
export function checkSecretSize(name: string, bytes: number): void {
  if (bytes > maxSecretBytes) throw tooLarge(`Field '${printable(name, 150)}' has`, maxSecretBytes);
}

/** @param bytes of all of them @throws KilnError SECRET_INVALID */
export function checkSecretsSize(bytes: number): void {
  if (bytes > maxSecretsBytes) throw tooLarge('Secrets and ssh keys together have', maxSecretsBytes);
}

function check(kind: 'secret' | 'ssh', given: readonly GivenSecret[]): void {
  if (given.length > maxSecrets)
    throw refuse(kind, `at most ${maxSecrets} are taken, and ${given.length} are given`);
  const seen = new Set<string>();
  for (const { id, value } of given) {
    if (!idRule.test(id))
      throw refuse(
        `${kind}.${printable(id, 150)}`,
        'an id is 1 to 128 letters, digits, dots, dashes and underscores',
      );
    if (seen.has(id)) throw refuse(`${kind}.${id}`, 'it is given twice');
    seen.add(id);
    checkSecretSize(`${kind}.${id}`, value.length);
  }
}

function refuse(field: string, problem: string): KilnError {
  return new KilnError('SECRET_INVALID', `Field '${field}': ${problem}.`, { details: { field } });
}

function tooLarge(what: string, limit: number): KilnError {
  return new KilnError('SECRET_INVALID', `${what} more than ${limit} bytes.`, {
    details: { limit },
  });
}
