import { KilnError } from '../model/error.ts';

/** An archive that unpacks to more than this many times its size is a bomb. Small ones are not judged: they may well be text. */
const maxRatio = 100;
const ratioFreeBytes = 10 * 1024 * 1024;
/** An archive may begin with much that compresses well, such as zeros: while it arrives, it may be this many bytes beyond its ratio. */
const ratioLeadBytes = 256 * 1024 * 1024;

/** Counts what all contexts of a build unpack to, holes of sparse files and all, against their limit and against what was uploaded. */
export class UnpackedSize {
  #bytes = 0;
  readonly #maxBytes: number;
  readonly #upload: { readonly bytes: number };

  /** @param upload how many bytes have come, at any time */
  constructor(maxBytes: number, upload: { readonly bytes: number }) {
    this.#maxBytes = maxBytes;
    this.#upload = upload;
  }

  /** @throws KilnError ARCHIVE_TOO_LARGE */
  add(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes > this.#maxBytes) throw tooLarge(this.#maxBytes);
    if (this.#bytes > this.#upload.bytes * maxRatio + ratioLeadBytes) throw bomb();
  }

  /** Once all of an archive has come. @throws KilnError ARCHIVE_TOO_LARGE */
  end(): void {
    if (this.#bytes > ratioFreeBytes && this.#bytes > this.#upload.bytes * maxRatio) throw bomb();
  }
}

function tooLarge(limit: number): KilnError {
  return new KilnError(
    'ARCHIVE_TOO_LARGE',
    `The archive unpacks to more than ${limit} bytes; leave out what the build does not need.`,
    { details: { limit } },
  );
}

function bomb(): KilnError {
  const message = `The archive unpacks to more than ${maxRatio} times its size, as only archives do that are made to fill disks; leave out large files that hold nothing but zeros.`;
  return new KilnError('ARCHIVE_TOO_LARGE', message, { details: { limit: maxRatio } });
}
