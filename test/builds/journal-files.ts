import type { Journal } from '../../src/builds/journal.ts';
import type { BuildEvent } from '../../src/model/event.ts';

/** What a build said that has ended. */

export async function readLogs({ files }: Journal): Promise<string[]> {
  const { signal } = new AbortController();
  const logs = [...files.earlier, files.log].map((log) =>
    Array.fromAsync(log.read({ offset: 0, follow: true, signal })),
  );
  return (await Promise.all(logs)).map((chunks) => Buffer.concat(chunks).toString());
}

export async function readEvents({ files }: Journal): Promise<BuildEvent[]> {
  const signal = new AbortController().signal;
  const chunks = await Array.fromAsync(files.events.read({ offset: 0, follow: true, signal }));
  const lines = Buffer.concat(chunks).toString().trimEnd().split('\n');
  return lines.map((line): BuildEvent => JSON.parse(line));
}
