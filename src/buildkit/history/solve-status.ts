import { z } from 'zod';

/**
 * What BuildKit says of a build's progress, as `--trace` and `--progress=rawjson` write it (client/graph.go of v0.20.2); only what
 * is needed of it. Times are RFC 3339, bytes base64.
 */
const vertexSchema = z.looseObject({
  digest: z.string(),
  name: z.string().optional(),
  started: z.string().optional(),
  completed: z.string().optional(),
  cached: z.boolean().optional(),
  error: z.string().optional(),
});
const itemSchema = z.looseObject({
  id: z.string(),
  vertex: z.string(),
  current: z.number().optional(),
  total: z.number().optional(),
  started: z.string().optional(),
  completed: z.string().optional(),
});
const logSchema = z.looseObject({ vertex: z.string(), data: z.string().optional(), timestamp: z.string() });
const warningSchema = z.looseObject({ vertex: z.string(), short: z.string().optional() });

export const statusSchema = z.object({
  vertexes: z.array(vertexSchema).default([]),
  statuses: z.array(itemSchema).default([]),
  logs: z.array(logSchema).default([]),
  warnings: z.array(warningSchema).default([]),
});

export type Vertex = z.infer<typeof vertexSchema>;
export type Item = z.infer<typeof itemSchema>;
export type SolveStatus = z.infer<typeof statusSchema>;
