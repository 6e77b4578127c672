/** Parts of a SolveStatus, as BuildKit before v0.13 spells them in its trace: by the names they have in Go. */
const parts = ['Vertexes', 'Statuses', 'Logs', 'Warnings'] as const;
/** Names whose first letter alone does not make them those of today. */
const renamed: Readonly<Record<string, string>> = { ID: 'id', URL: 'url' };

/**
 * A status of the trace as today's BuildKit writes it, whichever BuildKit wrote it: whoever reads the events of a build need not know
 * two spellings. What is empty is left out, as today. Anything else is returned as it is.
 */
export function asToday(message: unknown): unknown {
  if (!isObject(message) || !parts.some((part) => part in message)) return message;
  const found = parts.flatMap((part) => {
    const items = message[part];
    return Array.isArray(items) ? [[part.toLowerCase(), items.map(rename)] as const] : [];
  });
  return Object.fromEntries(found);
}

function rename(item: unknown): unknown {
  if (!isObject(item)) return item;
  const pairs = Object.entries(item).filter(([, value]) => !isEmpty(value));
  return Object.fromEntries(pairs.map(([name, value]) => [nameToday(name), value]));
}

function nameToday(name: string): string {
  return renamed[name] ?? name.charAt(0).toLowerCase() + name.slice(1);
}

function isEmpty(value: unknown): boolean {
  return value === null || value === '' || value === false;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
