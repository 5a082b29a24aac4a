import { nameOf, short } from './summary.ts';
import type { MeasureSummary, ScenarioSummary } from './summary.ts';

const WIDTH = 720;
const LABEL_WIDTH = 190;
const VALUE_WIDTH = 150;
const BAR_HEIGHT = 18;
const BAR_GAP = 6;
const TITLE_HEIGHT = 34;
/** Readable on white and on near-black, since an image on GitHub does not know the page's theme. */
const TEXT = '#7d8590';
const OURS = '#2f81f7';
const OTHER = '#8b949e';
const SPREAD = '#d29922';

/** Bars with the median, and a line from the least to the most; undefined where the scenario has nothing to draw. */
export function chart({ measures, title }: ScenarioSummary): string | undefined {
  const drawn = measures.filter(({ chart, rows }) => chart && rows.length > 0);
  if (drawn.length === 0) return undefined;
  let top = 0;
  const parts = drawn.map((measure) => {
    const part = bars(measure, top);
    top += TITLE_HEIGHT + measure.rows.length * (BAR_HEIGHT + BAR_GAP) + BAR_GAP;
    return part;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${top}" viewBox="0 0 ${WIDTH} ${top}" role="img" aria-label="${escape(title)}" font-family="-apple-system, 'Segoe UI', Helvetica, Arial, sans-serif" font-size="13" fill="${TEXT}">`,
    ...parts,
    '</svg>\n',
  ].join('\n');
}

function bars({ title, unit, rows }: MeasureSummary, top: number): string {
  const space = WIDTH - LABEL_WIDTH - VALUE_WIDTH;
  const most = Math.max(...rows.map(({ value }) => value.max).filter(Number.isFinite)) || 1;
  const x = (value: number): number => round(LABEL_WIDTH + (space * Math.min(value, most)) / most);
  const lines = rows.map(({ contender, value, ratio }, index) => {
    const y = top + TITLE_HEIGHT + index * (BAR_HEIGHT + BAR_GAP);
    const middle = y + BAR_HEIGHT / 2;
    const fill = contender.startsWith('ours') ? OURS : OTHER;
    const beside = `${short(value.median)}${ratio ? ` (${short(ratio.median)} x)` : ''}`;
    return [
      `<text x="${LABEL_WIDTH - 8}" y="${middle + 4}" text-anchor="end">${escape(nameOf(contender))}</text>`,
      `<rect x="${LABEL_WIDTH}" y="${y}" width="${round(Math.max(1, x(value.median) - LABEL_WIDTH))}" height="${BAR_HEIGHT}" rx="2" fill="${fill}"/>`,
      `<path d="M${x(value.min)} ${middle}H${x(value.max)}" stroke="${SPREAD}" stroke-width="2"/>`,
      `<text x="${x(value.max) + 8}" y="${middle + 4}">${escape(beside)}</text>`,
    ].join('\n');
  });
  return [`<text x="0" y="${top + 20}" font-weight="600">${escape(`${title}, ${unit}`)}</text>`, ...lines].join('\n');
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;');
}
