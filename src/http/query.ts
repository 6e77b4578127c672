import type { Request } from 'express';
import type { z } from 'zod';
import { printable } from '../lib/text.ts';
import { KilnError } from '../model/error.ts';

/** @throws KilnError REQUEST_INVALID for unknown parameters, OFFSET_INVALID, PARAM_INVALID */
export function readQuery<Shape extends z.ZodRawShape>(
  schema: z.ZodObject<Shape>,
  query: Request['query'],
): z.output<z.ZodObject<Shape>> {
  const known = Object.keys(schema.shape);
  const unknown = Object.keys(query).find((name) => !known.includes(name));
  if (unknown !== undefined) {
    throw new KilnError(
      'REQUEST_INVALID',
      `There is no query parameter '${printable(unknown)}' here; known are ${known.join(', ')}.`,
    );
  }
  const parsed = schema.safeParse(query);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const name = String(issue?.path[0]);
  throw new KilnError(
    name === 'offset' ? 'OFFSET_INVALID' : 'PARAM_INVALID',
    `Query parameter '${name}': ${printable(issue?.message ?? 'invalid')}.`,
  );
}
