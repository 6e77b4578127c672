import { KilnError } from '../../model/error.ts';

/** The headers of a part, by lower-case name. */
type Headers = Record<string, string[] | undefined>;
/** The parser's reader of them. */
type HeaderReader = { cb: (headers: Headers) => void };

/** What a file is without a name. */
const binaryType = /^\s*application\/octet-stream\s*(?:;|$)/i;

/** Only how the name of a file ends says something, and only that it is an archive of some kind. */
const nameEnd = /[\w.]{1,20}$/;

/**
 * Has the parser read every part. One whose Content-Disposition it cannot read, such as for a file name in an unknown charset, it
 * passes over without a word, and nothing of it is left to ask for but this reader. So the header is put into its plainest form
 * first: the field's name as it is, and of a file's the end. multer drops a file without a name, so each gets one.
 * @param fail told of a part whose header cannot be understood
 */
export function mendPartHeaders(parser: NodeJS.WritableStream, fail: (error: KilnError) => void): void {
  const mended = new WeakSet<HeaderReader>();
  let reader: HeaderReader | null = null;
  Object.defineProperty(parser, '_hparser', {
    get: () => reader,
    set(next: HeaderReader | null) {
      reader = next;
      if (!next || mended.has(next)) return;
      mended.add(next);
      const { cb } = next;
      next.cb = (headers) => {
        const plain = plainDisposition(headers);
        if (plain === null) fail(unreadablePart());
        else cb({ ...headers, 'content-disposition': [plain] });
      };
    },
  });
}

/** Null where it is not that of a field, or cannot be understood. */
function plainDisposition(headers: Headers): string | null {
  const header = headers['content-disposition']?.[0] ?? '';
  const [type = ''] = /^\s*[\w-]+/.exec(header) ?? [];
  if (type.trim().toLowerCase() !== 'form-data') return null;
  const parameters = new Map<string, string>();
  const parameter = /\s*;\s*([^\s=;"]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;"]*))\s*/y;
  for (parameter.lastIndex = type.length; parameter.lastIndex < header.length; ) {
    const [, name, quoted, bare = ''] = parameter.exec(header) ?? [];
    // The end of a bare value would be read as an escaped quote, once it is quoted.
    if (name === undefined || bare.trimEnd().endsWith('\\')) return null;
    const key = name.toLowerCase();
    if (!parameters.has(key)) parameters.set(key, quoted ?? bare.trim());
  }
  const name = parameters.get('name');
  const unnamed = binaryType.test(headers['content-type']?.[0] ?? '') ? '' : undefined;
  const filename = parameters.get('filename') ?? parameters.get('filename*') ?? unnamed;
  return [
    'form-data',
    ...(name === undefined ? [] : [`name="${name}"`]),
    ...(filename === undefined ? [] : [`filename="${nameEnd.exec(filename)?.[0] ?? 'unnamed'}"`]),
  ].join('; ');
}

function unreadablePart(): KilnError {
  const message =
    'The form cannot be read: a part has no Content-Disposition of form-data, or one that cannot be understood.';
  return new KilnError('MULTIPART_INVALID', message);
}
