import type { Verdict } from '../../model/build.ts';
import type { EventItem } from '../../model/event.ts';
import type { Writer } from './client.ts';

/** Writes a build's events, one JSON object a line or as server-sent events; resolves with the verdict where one came. */
export async function writeEvents(
  events: AsyncIterable<EventItem> | Iterable<EventItem>,
  writer: Writer,
  { sse, keepAliveMs }: { sse: boolean; keepAliveMs: number },
): Promise<Verdict | null> {
  let verdict: Verdict | null = null;
  // A comment, which clients of server-sent events ignore. NDJSON has no comments, so nothing is sent there.
  const timer = setInterval(() => writer.nudge(() => (sse ? ':\n\n' : '')), keepAliveMs);
  try {
    for await (const { event, offset } of events) {
      if (event.type === 'verdict') verdict = event.verdict;
      const json = JSON.stringify(event);
      await writer.write(sse ? `id: ${offset}\nevent: ${event.type}\ndata: ${json}\n\n` : `${json}\n`);
    }
  } finally {
    clearInterval(timer);
  }
  return verdict;
}
