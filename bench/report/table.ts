import { nameOf, withSpread } from './summary.ts';
import type { ScenarioSummary } from './summary.ts';

/** For the console. */
export function table({ title, result, measures, targets }: ScenarioSummary): string {
  const lines = [`\n${title} (${result.seconds} s)`];
  for (const { title, unit, reference, rows } of measures) {
    lines.push(`  ${title}, ${unit}`);
    const width = 2 + Math.max(24, ...rows.map(({ contender }) => nameOf(contender).length));
    for (const { contender, value, ratio } of rows) {
      const beside = ratio ? `${withSpread(ratio)} x ${nameOf(reference)}` : '';
      lines.push(`    ${nameOf(contender).padEnd(width)}${withSpread(value).padEnd(30)}${beside}`.trimEnd());
    }
  }
  for (const { text, measured, met } of targets) lines.push(`  ${verdict(met)}: ${text}: ${measured}`);
  return lines.join('\n');
}

export function verdict(met: boolean | undefined): string {
  if (met === undefined) return 'NOT MEASURED';
  return met ? 'met' : 'NOT MET';
}
