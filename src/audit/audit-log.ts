import { mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';

/** Who did what to what, and how that ended. */
export type AuditEntry = {
  /** Such as `build.start`. */
  readonly action: string;
  /** Null where it is nobody's. */
  readonly tenant: string | null;
  readonly role: string;
  /** Id of the token that let the caller in; null for this machine's own users. */
  readonly token: string | null;
  /** Id of the build, matrix, operation or token; name of the entry; null where there is none yet. */
  readonly subject: string | null;
  /** `ok`, or the code of the error. */
  readonly outcome: string;
};

/**
 * What was changed in an installation and by whom: a file for each month, below the data folder, one JSON object a line. Lines are only ever
 * added, by the service and by commands beside it; nothing of kiln removes or reads them.
 */
export class AuditLog {
  readonly directory: string;

  /** @param data The data folder. */
  constructor(data: string) {
    this.directory = join(data, 'audit');
  }

  async append(entry: AuditEntry, now = new Date()): Promise<void> {
    const at = now.toISOString();
    await mkdir(this.directory, { recursive: true, mode: 0o700 });
    await using file = await open(join(this.directory, `${at.slice(0, 7)}.jsonl`), 'a', 0o600);
    // In one piece: a file that is opened to append takes each write whole, whoever else writes.
    await file.write(`${JSON.stringify({ at, ...entry })}\n`);
  }
}
