import { Turns } from '../lib/turns.ts';
import type { LogDifference } from '../model/matrix.ts';

/** Of each log, in bytes; what follows is not compared. */
const comparedBytes = 1024 * 1024;
/** What is shown of a line. */
const shownCharacters = 200;
/** Longer than any time that stands at the end of a line. */
const timeCharacters = 32;

type Log = AsyncIterable<Buffer>;

/**
 * The first line of a plain log that another log lacks; failing that, the first of the other's that this one lacks. What two runs
 * of the same build say differently counts as the same: times, the numbers and the order of steps, and how far a transfer is.
 * Whoever runs the build decides what is in it: its time grows with the bytes alone, and it is made in turns.
 */
export async function findFirstDifference(log: Log, reference: Log): Promise<LogDifference | null> {
  const [ownText, firstText] = [await readText(log), await readText(reference)];
  const own = await findMissing(ownText, await meanings(firstText));
  if (own) return { of: 'own', ...own };
  const first = await findMissing(firstText, await meanings(ownText));
  return first && { of: 'first', ...first };
}

/** What is compared of a log: whole lines. */
async function readText(log: Log): Promise<string> {
  const parts: Buffer[] = [];
  let left = comparedBytes;
  for await (const chunk of log) {
    parts.push(chunk.subarray(0, left));
    left -= chunk.length;
    if (left <= 0) break;
  }
  const text = Buffer.concat(parts).toString('utf8');
  // The last one may be cut anywhere.
  return left > 0 ? text : text.slice(0, text.lastIndexOf('\n') + 1);
}

async function meanings(text: string): Promise<Set<string>> {
  const found = new Set<string>();
  const turns = new Turns(linesPerTurn);
  for (const line of linesOf(text)) {
    const meaning = meaningOf(line);
    if (meaning !== null) found.add(meaning);
    const turn = turns.step();
    if (turn) await turn;
  }
  return found;
}

async function findMissing(
  text: string,
  known: ReadonlySet<string>,
): Promise<{ line: number; text: string } | null> {
  const turns = new Turns(linesPerTurn);
  let number = 0;
  for (const line of linesOf(text)) {
    number += 1;
    const meaning = meaningOf(line);
    if (meaning !== null && !known.has(meaning))
      return { line: number, text: copyOf(line.slice(0, shownCharacters)) };
    const turn = turns.step();
    if (turn) await turn;
  }
  return null;
}

const linesPerTurn = 2000;

function* linesOf(text: string): Generator<string> {
  for (let start = 0; start < text.length; ) {
    const found = text.indexOf('\n', start);
    const end = found < 0 ? text.length : found;
    yield text.slice(start, end);
    start = end + 1;
  }
}

/** A part of a text holds all of it; what is found may be kept for long. */
function copyOf(part: string): string {
  return Buffer.from(part).toString('utf8');
}

/** How far it is with a layer or a folder, and what it makes of the image: digests and sizes, of every run its own. */
const transfer =
  /^(sha256:[0-9a-f]{64} |transferring |extracting |exporting |writing |naming |sending |resolve )/;

/** A line without what differs from run to run; null for one that says nothing that could be compared. */
function meaningOf(line: string): string | null {
  const [, said] = /^#\d+ (.*)$/s.exec(line) ?? [];
  if (said === undefined) return line.trim() === '' ? null : line;
  const text = withoutEndTime(said.replace(/^\d+\.\d+ /, ''));
  return text === '' || transfer.test(text) ? null : text;
}

/** Looked for at the end alone: from each digit of a long row of them, a pattern would read to the end of the row. */
function withoutEndTime(text: string): string {
  const from = Math.max(0, text.length - timeCharacters);
  return text.slice(0, from) + text.slice(from).replace(/ ?\d+(\.\d+)?s( done)?$/, '');
}
