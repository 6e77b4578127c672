import type { ArchiveUpload, ContextStaging } from '../src/model/context.ts';

const summary = { digest: `sha256:${'a'.repeat(64)}`, size: 1024, entries: 1, warnings: [] } as const;

/** Contexts that `take` is given as they arrive, whatever their bytes are. */
export function collectContexts(
  take: (name: string | null, upload: ArchiveUpload) => Promise<void>,
): ContextStaging {
  const names: string[] = [];
  let hasMain = false;
  const removed = { [Symbol.asyncDispose]: async () => undefined };
  return {
    names,
    get summary() {
      return hasMain ? summary : null;
    },
    async add(name, upload) {
      await take(name, upload);
      if (name === null) hasMain = true;
      else names.push(name);
    },
    seal: async () => ({
      ...{ path: '/nowhere', directory: '', frontend: null, summary: hasMain ? summary : null },
      named: names.map((name) => ({ name, directory: name, imageDigest: null, summary })),
      ...removed,
    }),
    ...removed,
  };
}
