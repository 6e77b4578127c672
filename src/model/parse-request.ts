import type { z } from 'zod';
import { printable } from '../lib/text.ts';
import { KilnError } from './error.ts';

/** What is asked for, checked and completed. @throws KilnError PARAM_INVALID, naming the field */
export function parseRequest<Schema extends z.ZodType>(schema: Schema, given: unknown): z.output<Schema> {
  const parsed = schema.safeParse(given);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const field = printable(issue?.path.join('.') ?? '');
  const message = `${field === '' ? 'The request' : field}: ${printable(issue?.message ?? 'invalid')}.`;
  throw new KilnError('PARAM_INVALID', message, { details: { field } });
}
