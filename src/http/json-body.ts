import express, { type Request, type Response } from 'express';
import type { z } from 'zod';
import { KilnError } from '../model/error.ts';
import { parseRequest } from '../model/parse-request.ts';

const maxBytes = 16 * 1024;
const parse = express.json({ limit: maxBytes, strict: true });

/** Reads the body of a request as JSON. @throws KilnError CONTENT_TYPE, BODY_INVALID, PARAM_INVALID */
export async function readJson<Schema extends z.ZodType>(
  schema: Schema,
  request: Request,
  response: Response,
): Promise<z.output<Schema>> {
  if (!request.is('application/json'))
    throw new KilnError('CONTENT_TYPE', 'Send JSON: -H "Content-Type: application/json" -d \'{…}\'.');
  // Whatever is wrong with a body, or with how it came, is its sender's.
  await new Promise<void>((resolve, reject) => {
    parse(request, response, (error?: unknown) => (error === undefined ? resolve() : reject(notJson(error))));
  });
  return parseRequest(schema, request.body);
}

function notJson(cause: unknown): KilnError {
  return new KilnError('BODY_INVALID', `The body is not JSON of at most ${maxBytes} bytes.`, { cause });
}
