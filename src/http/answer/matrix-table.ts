import { printable } from '../../lib/text.ts';
import type { Matrix, MatrixBuild } from '../../model/matrix.ts';

/** What came of each build, for people: one line each, and where to find more. */
export function matrixTable({ id, state, builds }: Matrix): string {
  const rows = [
    ['entry', 'state', 'time', 'image', 'build'],
    ...builds.map((build) => [
      ...[build.entry, build.state, build.seconds === null ? '-' : `${build.seconds.toFixed(1)} s`],
      ...[build.imageDigest?.slice(0, 'sha256:'.length + 12) ?? '-', `/v1/builds/${build.id}`],
    ]),
  ];
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  const lines = rows.map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  '));
  const differences = builds.flatMap((build) => difference(build, builds[0]));
  return [...lines, ...differences, `matrix ${state}: /v1/matrices/${id}`]
    .map((line) => `kiln: ${line.trimEnd()}\n`)
    .join('');
}

function difference(
  { entry, firstDifference: found }: MatrixBuild,
  first: MatrixBuild | undefined,
): string[] {
  if (!found || !first) return [];
  const text = printable(found.text);
  return [
    found.of === 'own'
      ? `${entry}: line ${found.line} of its log is not in that of ${first.entry}: ${text}`
      : `${entry}: lacks line ${found.line} of the log of ${first.entry}: ${text}`,
  ];
}
