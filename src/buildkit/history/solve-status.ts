import { z } from 'zod';

/**
 * What BuildKit says of a build's progress, as `--trace` and `--progress=rawjson` write it (client/graph.go of v0.20.2); only what
 * is needed of it. Times are RFC 3339, bytes base64. What is kept of it has a length that BuildKit's own never comes near; names and
 * errors may be long and are cut where they are kept.
 */
const digestSchema = z.string().max(128);
const idSchema = z.string().max(1024);
const timeSchema = z.string().max(64);
const vertexSchema = z.looseObject({
  digest: digestSchema,
  name: z.string().optional(),
  started: timeSchema.optional(),
  completed: timeSchema.optional(),
  cached: z.boolean().optional(),
  error: z.string().optional(),
});
const itemSchema = z.looseObject({
  id: idSchema,
  vertex: digestSchema,
  current: z.number().optional(),
  total: z.number().optional(),
  started: timeSchema.optional(),
  completed: timeSchema.optional(),
});
const logSchema = z.looseObject({
  vertex: digestSchema,
  data: z.string().optional(),
  timestamp: timeSchema,
});
const warningSchema = z.looseObject({ vertex: digestSchema, short: z.string().optional() });

export const statusSchema = z.object({
  vertexes: z.array(vertexSchema).default([]),
  statuses: z.array(itemSchema).default([]),
  logs: z.array(logSchema).default([]),
  warnings: z.array(warningSchema).default([]),
});

export type Vertex = z.infer<typeof vertexSchema>;
export type Item = z.infer<typeof itemSchema>;
export type SolveStatus = z.infer<typeof statusSchema>;
