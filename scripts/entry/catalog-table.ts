import type { Entry } from '../../src/catalog/catalog.ts';

/** The catalog as the README has it, newest BuildKit first; the revision as far as git shows one. */
export function catalogTable(entries: readonly Entry[]): string {
  const rows = entries.toReversed().map(({ state, pins }) => {
    const revision = pins.BUILDKIT_REVISION === '' ? '' : `\`${pins.BUILDKIT_REVISION.slice(0, 12)}\``;
    const cells = [pins.BUILDKIT_VERSION, revision, pins.RUNC_VERSION, pins.GO_TOOLCHAIN.slice(2), state];
    return `| ${cells.join(' | ')} |`;
  });
  return ['| BuildKit | revision | runc | Go | |', '|---|---|---|---|---|', ...rows].join('\n');
}
