import type { PushedImage } from '../model/build.ts';
import type { BuildSecrets } from '../model/build-secrets.ts';
import { KilnError } from '../model/error.ts';
import { pushesOf } from '../model/output.ts';
import type { BuildSpec } from '../model/spec.ts';
import type { ReadDigest } from '../registry/read-digest.ts';

/**
 * What lies in the registries after a build that says it pushed: kiln looks itself, as the VM's word is not to be trusted.
 * @param imageDigest that of the image pushed last, as the VM says; null where it says none
 * @throws KilnError DIGEST_MISMATCH, and those of `ReadDigest`
 */
export async function verifyPushes(
  spec: BuildSpec,
  { imageDigest, secrets }: { readonly imageDigest: string | null; readonly secrets: BuildSecrets },
  readDigest: ReadDigest,
  signal: AbortSignal,
): Promise<PushedImage[]> {
  const pushes = pushesOf(spec);
  const pushed: PushedImage[] = [];
  for (const push of pushes) {
    for (const reference of push.names) {
      const digest = await readDigest(reference, secrets.accounts, signal);
      const other = push === pushes.at(-1) && imageDigest !== null && digest !== imageDigest;
      if (digest === null || other)
        throw new KilnError(
          'DIGEST_MISMATCH',
          digest === null
            ? `The build says that it pushed ${reference}, and its registry has nothing of that name.`
            : `The registry has ${digest} as ${reference}, and the build says that it pushed ${imageDigest}; look who else writes there.`,
        );
      pushed.push({ reference, digest });
    }
  }
  return pushed;
}

/** Whether a status of BuildKit says that images are on their way out: from then on the build is not run again. */
export function saysPushing(status: unknown): boolean {
  if (typeof status !== 'object' || status === null) return false;
  const { vertexes = [], statuses = [] } = status as Record<string, unknown>;
  const begins = (list: unknown, key: string, word: string): boolean =>
    Array.isArray(list) &&
    list.some((item: unknown) => {
      const text: unknown = Object(item)[key];
      return typeof text === 'string' && text.startsWith(word);
    });
  return begins(vertexes, 'name', 'exporting to image') || begins(statuses, 'id', 'pushing ');
}
