import { writeFile } from 'node:fs/promises';
import type { Row } from './measure.ts';

/** One line as soon as it is measured: `what: kiln 310 MiB/s, baseline 350 MiB/s, ratio 0.886 (goal ratio ≥ 0.8: met)`. */
export function printRow(row: Row): void {
  const { what, kiln, baseline, unit, ratio } = rounded(row);
  console.log(
    `  ${what}: kiln ${kiln} ${unit}, baseline ${baseline} ${unit}, ratio ${ratio} (${sayGoal(row)})`,
  );
}

/** All of them as a table, in a JSON file where one is named, and how many met their goals. */
export async function report(rows: readonly Row[], jsonFile: string | undefined): Promise<void> {
  console.table(rows.map((row) => ({ ...rounded(row), goal: sayGoal(row) })));
  const judged = rows.flatMap((row) => isMet(row) ?? []);
  console.log(`${judged.filter((met) => met).length} of ${judged.length} goals met`);
  if (jsonFile === undefined) return;
  const results = rows.map((row) => ({ ...row, met: isMet(row) }));
  await writeFile(jsonFile, `${JSON.stringify(results, null, 2)}\n`);
}

function sayGoal(row: Row): string {
  if (!row.goal) return 'no goal';
  const [figure, relation, bound] = row.goal;
  return `goal ${figure} ${relation} ${bound}${figure === 'kiln' ? ` ${row.unit}` : ''}: ${isMet(row) ? 'met' : 'not met'}`;
}

/** Null where there is no goal. */
function isMet(row: Row): boolean | null {
  if (!row.goal) return null;
  const [figure, relation, bound] = row.goal;
  return relation === '≥' ? row[figure] >= bound : row[figure] <= bound;
}

function rounded(row: Row): Row {
  const round = (value: number): number => Number(value.toPrecision(4));
  return { ...row, kiln: round(row.kiln), baseline: round(row.baseline), ratio: round(row.ratio) };
}
