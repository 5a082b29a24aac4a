/** How a measured value went over time. */
export interface Trend {
  readonly mean: number;
  /** By how much the line through the samples rises from the first to the last. */
  readonly growth: number;
  /** {@link growth} in standard errors of itself: below 3 or so it is noise. */
  readonly significance: number;
}

/** The least-squares line through `values`, taken at equal distances in time. */
export function trendOf(values: readonly number[]): Trend {
  const n = values.length;
  const mean = sum(values) / n;
  const middle = (n - 1) / 2;
  const spread = sum(values.map((_, at) => (at - middle) ** 2));
  const slope = sum(values.map((value, at) => (at - middle) * (value - mean))) / spread;
  const residual = sum(values.map((value, at) => (value - mean - slope * (at - middle)) ** 2));
  const error = Math.sqrt(residual / Math.max(1, n - 2) / spread);
  return { mean, growth: slope * (n - 1), significance: error === 0 ? 0 : slope / error };
}

function sum(values: readonly number[]): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}
