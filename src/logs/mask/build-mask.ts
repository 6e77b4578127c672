import type { BuildSecrets } from '../../model/build-secrets.ts';
import { FormSearch } from './form-search.ts';
import { MaskStatus } from './mask-status.ts';
import { MaskStream } from './mask-stream.ts';
import { findSecretForms } from './secret-forms.ts';

/** What comes between a guest and the files of its build. */
export type BuildMask = {
  /** Bytes of the plain log. */
  log(bytes: Buffer): Buffer;
  /** An object of the trace; what it is as JSON grows by no more than a line. @throws KilnError INFRA */
  status(status: unknown): unknown;
  /** What was held, as it might have become a secret; nothing follows. */
  end(): { readonly log: Buffer; readonly status: unknown };
};

const nothing: BuildMask = {
  log: (bytes) => bytes,
  status: (status) => status,
  end: () => ({ log: Buffer.alloc(0), status: null }),
};

/** Of one attempt of a build. Without secrets everything stays as it is. */
export function createBuildMask(secrets: BuildSecrets): BuildMask {
  const { forms } = findSecretForms(secrets);
  if (forms.length === 0) return nothing;
  const search = new FormSearch(forms);
  const [log, statuses] = [new MaskStream(search), new MaskStatus(search)];
  return {
    log: (bytes) => log.push(bytes),
    status: (status) => statuses.push(status),
    end: () => ({ log: log.end(), status: statuses.end() }),
  };
}
