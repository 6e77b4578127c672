import type { BuildSecrets, GivenSecret } from '../model/build-secrets.ts';

/** Of the guest, in its memory; build.sh makes it, fills it, names it in DOCKER_CONFIG and removes it. */
const directory = '/run/kiln-secrets';

/** A file in that folder. */
type SecretFile = { readonly name: string; readonly content: Buffer };

/** What a build was given that nobody may see, as files of its guest, and the arguments by which buildctl finds them. */
export function secretFiles(secrets: BuildSecrets): {
  readonly files: readonly SecretFile[];
  readonly args: readonly string[];
} {
  const accounts = Object.keys(secrets.accounts).length > 0;
  const config = Buffer.from(JSON.stringify({ auths: secrets.accounts }));
  const ofSecrets = number('secret', secrets.secrets);
  const ofKeys = number('ssh', secrets.sshKeys);
  return {
    files: [...(accounts ? [{ name: 'config.json', content: config }] : []), ...ofSecrets, ...ofKeys],
    args: [
      ...ofSecrets.map(({ id, name }) => `--secret=id=${id},src=${directory}/${name}`),
      ...ofKeys.map(({ id, name }) => `--ssh=${id}=${directory}/${name}`),
    ],
  };
}

/** In the guest they have names of ours. */
function number(kind: string, given: readonly GivenSecret[]): (SecretFile & { readonly id: string })[] {
  return given.map(({ id, value }, index) => ({ id, name: `${kind}-${index + 1}`, content: value }));
}
