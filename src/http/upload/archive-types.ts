import type { ArchiveUpload } from '../../model/context.ts';

const zipTypes = ['application/zip', 'application/x-zip', 'application/x-zip-compressed'];
const tarTypes = [
  ...['application/x-tar', 'application/tar', 'application/x-gtar', 'application/gzip', 'application/x-gzip'],
  ...['application/tar+gzip', 'application/x-tgz', 'application/x-compressed-tar', 'application/x-bzip2'],
  ...['application/x-bzip', 'application/x-xz', 'application/zstd', 'application/x-zstd'],
];

/** Types under which an archive is sent as the body itself; the last is what `curl --data-binary` says. */
export const archiveTypes: readonly string[] = [
  ...tarTypes,
  ...zipTypes,
  ...['application/octet-stream', 'binary/octet-stream', 'application/x-www-form-urlencoded'],
];

/** What the sender says that an archive is, by its type or its name; what is compressed is a tar. */
export function declaredFormat(type: string, name = ''): ArchiveUpload['declared'] {
  if (zipTypes.includes(type) || /\.zip$/i.test(name)) return 'zip';
  return tarTypes.includes(type) || /\.(?:tar|(?:tar\.|t)(?:gz|bz2?|xz|zst))$/i.test(name) ? 'tar' : null;
}
