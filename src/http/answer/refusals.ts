import { printable } from '../../lib/text.ts';
import type { EgressDestination, RefusalReason } from '../../model/build.ts';

/** Named of each kind; how many more there were is said. */
const maxNamed = 5;

/** How each kind of refusal is told; one that only the build itself can mend is left to what its own programs say. */
const sentences: Partial<Record<RefusalReason, (names: string, first: string) => string>> = {
  'not-public': (names, first) =>
    `${names}: not public; whoever runs this service can open it with KILN_EGRESS_ALLOW=${first}${/:\d+$/.test(first) ? '' : ':PORT'}`,
  denied: (names) => `${names}: closed by KILN_EGRESS_DENY of this service`,
  'not-in-only': (names, first) =>
    `${names}: not named by KILN_EGRESS_ONLY of this service; whoever runs it can add ${first}`,
  'network-none': (names) => `${names}: this build asked for network=none; network=default lets it out`,
};

/** What a build was refused, one line for each kind of reason at most. */
export function describeRefusals(destinations: readonly EgressDestination[]): string[] {
  const told = destinations.filter(
    ({ allowed, reason }) => !allowed && reason !== null && reason in sentences,
  );
  return [...Map.groupBy(told, ({ reason }) => reason)].map(([reason, all]) => {
    const names = [...new Set(all.map(nameOf))];
    const more = names.length > maxNamed ? ` and ${names.length - maxNamed} more` : '';
    const named = `${names.slice(0, maxNamed).join(', ')}${more}`;
    return `refused: ${sentences[reason as RefusalReason]?.(named, names[0] ?? '')}`;
  });
}

function nameOf({ name, address, port }: EgressDestination): string {
  const host = name ?? (address?.includes(':') ? `[${address}]` : (address ?? ''));
  return printable(port === null ? host : `${host}:${port}`);
}
