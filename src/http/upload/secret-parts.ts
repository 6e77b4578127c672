import { printable } from '../../lib/text.ts';
import {
  BuildSecrets,
  checkSecretSize,
  checkSecretsSize,
  type GivenSecret,
  maxSecrets,
} from '../../model/build-secrets.ts';
import { KilnError } from '../../model/error.ts';
import { parseRegistryConfig, parseRegistryHeader } from '../../model/registry-accounts.ts';
import type { FieldInfo, Fields } from './fields.ts';

/** Parts of a form that nobody may see. They are no fields: none of them may stand in a URL, which is logged on its way. */

const registryConfig = 'registry-config';
const prefixes = { secrets: 'secret.', sshKeys: 'ssh.' } as const;

/** As files. */
export const maxSecretFiles = 1 + 2 * maxSecrets;

export const secretInfos: Readonly<Record<string, FieldInfo>> = {
  [registryConfig]: {
    description:
      'Accounts of registries, for pulls, frontends and pushes of this build alone: JSON as in X-Registry-Config, {"HOST": {"username": …, "password": …}}, or a docker config.json, whose auths are read.',
  },
  'secret.ID': {
    description:
      'A secret for RUN --mount=type=secret,id=ID, as a file or as text; at most 500 KiB. It is kept in memory alone, and masked in the log where it has 8 bytes or more.',
  },
  'ssh.ID': {
    description:
      'A private ssh key without a password for RUN --mount=type=ssh,id=ID (default where none is named), as a file or as text.',
  },
};

/** A part as it came. */
export type SecretPart = { readonly name: string; readonly value: Buffer };

export function isSecretPart(name: string): boolean {
  return name === registryConfig || Object.values(prefixes).some((prefix) => name.startsWith(prefix));
}

/** Reads a file of a form. @param before bytes of those that came before it @throws KilnError SECRET_INVALID */
export async function readSecret(
  name: string,
  bytes: AsyncIterable<Buffer>,
  before: number,
): Promise<SecretPart> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of bytes) {
    size += chunk.length;
    checkSecretSize(name, size);
    checkSecretsSize(before + size);
    // A chunk is lent.
    chunks.push(Buffer.from(chunk));
  }
  return { name, value: Buffer.concat(chunks) };
}

/** Text fields apart: those of secrets, and the others. */
export function takeSecrets(fields: Fields): { readonly fields: Fields; readonly secrets: SecretPart[] } {
  const secrets = [...fields].flatMap(([name, values]) =>
    isSecretPart(name) ? values.map((value) => ({ name, value: Buffer.from(value) })) : [],
  );
  return { fields: new Map([...fields].filter(([name]) => !isSecretPart(name))), secrets };
}

/** @throws KilnError MULTIPART_FIELD */
export function refuseSecretsInUrl(query: Fields): void {
  const name = [...query.keys()].find(isSecretPart);
  if (name === undefined) return;
  const message = `'${printable(name, 150)}' is given in the URL, which others may log; send it as a part of a form, and take another secret.`;
  throw new KilnError('MULTIPART_FIELD', message);
}

/**
 * @param header X-Registry-Config, where the request has it
 * @throws KilnError SECRET_INVALID, PARAM_INVALID, MULTIPART_FIELD
 */
export function parseSecrets(parts: readonly SecretPart[], header: string | undefined): BuildSecrets {
  const configs = parts.filter(({ name }) => name === registryConfig);
  if (configs.length + (header === undefined ? 0 : 1) > 1)
    throw new KilnError(
      'MULTIPART_FIELD',
      `'${registryConfig}' and the header X-Registry-Config say the same; give one of them, once.`,
    );
  const given = (prefix: string): GivenSecret[] =>
    parts
      .filter(({ name }) => name.startsWith(prefix))
      .map(({ name, value }) => ({ id: name.slice(prefix.length), value }));
  const [config] = configs;
  return BuildSecrets.of({
    accounts: config
      ? parseRegistryConfig(config.value.toString('utf8'), registryConfig)
      : header === undefined
        ? {}
        : parseRegistryHeader(header),
    ...{ secrets: given(prefixes.secrets), sshKeys: given(prefixes.sshKeys) },
  });
}
