import { describe, expect, it } from 'vitest';
import { percentile, spread } from '../../bench/harness/statistics.ts';
import { chart } from '../../bench/report/chart.ts';
import { readmeSection } from '../../bench/report/markdown.ts';
import type { Results, Values } from '../../bench/report/results.ts';
import { short, summarize } from '../../bench/report/summary.ts';

function results(scenario: string, values: Values): Results {
  const result = { scenario, quick: false, synapse: false, measuredAt: 'then', commit: 'abc', seconds: 1, values };
  return { date: '2026-01-01', machine: 'a machine', scenarios: [result] };
}

function verdictOn(scenario: string, values: Values): boolean | undefined {
  return summarize(results(scenario, values))[0]?.targets[0]?.met;
}

describe('statistics', () => {
  it('finds the middle, and what lies between two values', () => {
    expect(spread([3, 1, 2])).toEqual({ median: 2, min: 1, max: 3 });
    expect(percentile([10, 20], 50)).toBe(15);
    expect(percentile([5], 99)).toBe(5);
  });

  it('prints about three digits', () => {
    expect([0.0004, 0.123, 1.234, 12.34, 1234, Infinity].map(short)).toEqual([
      '0.0004',
      '0.12',
      '1.23',
      '12.3',
      '1,234',
      'never',
    ]);
  });
});

describe('targets', () => {
  it('compares round by round, so that a slow round of both is no difference', () => {
    const values = { cpu: { 'ours-undici': [40, 400, 45], bare: [100, 1_000, 100] } };
    expect(summarize(results('cpu-per-event', values))[0]?.targets[0]).toMatchObject({
      met: true,
      measured: '0.40 (0.40 to 0.45) x',
    });
  });

  it('are missed by too much and by too little', () => {
    expect(verdictOn('cpu-per-event', { cpu: { 'ours-undici': [60], bare: [100] } })).toBe(false);
    expect(verdictOn('provisioning', { rate: { ours: [80], raw: [100] } })).toBe(false);
    expect(verdictOn('provisioning', { rate: { ours: [120], raw: [100] } })).toBe(true);
  });

  it('take a difference, and another measure of the same contender', () => {
    expect(verdictOn('latency', { p50: { ours: [5], raw: [2] } })).toBe(false);
    expect(verdictOn('latency', { p50: { ours: [4], raw: [2] } })).toBe(true);
    expect(verdictOn('wake', { wake: { ours: [20] }, cold: { ours: [100] } })).toBe(true);
    expect(verdictOn('wake', { wake: { ours: [30] }, cold: { ours: [100] } })).toBe(false);
  });

  it('are met by one of two limits', () => {
    expect(verdictOn('page', { page: { ours: [60], raw: [1_000] } })).toBe(false);
    expect(verdictOn('page', { page: { ours: [60], raw: [100_000] } })).toBe(true);
  });

  it('are undecided where the contender was not there', () => {
    expect(verdictOn('cpu-per-event', { cpu: { ours: [60], bare: [100] } })).toBeUndefined();
  });
});

describe('the report', () => {
  const [summary] = summarize(results('latency', { p50: { ours: [3, 4], raw: [2, 2] }, p99: { raw: [9] } }));

  it('tells medians and ratios', () => {
    const section = readmeSection([results('latency', { p50: { ours: [3, 4], raw: [2, 2] } })], 'results');
    expect(section).toContain('| Latency, p50, ms | 3.50 (1.75 x) | 2.00 |');
  });

  it('tells of each scenario what its last run gave, with the day', () => {
    const older = {
      ...results('latency', { p50: { ours: [3], raw: [2] } }),
      scenarios: [
        ...results('latency', { p50: { ours: [3], raw: [2] } }).scenarios,
        ...results('page', { page: { ours: [20], raw: [10] } }).scenarios,
      ],
    };
    const newer = { ...results('latency', { p50: { ours: [8], raw: [2] } }), date: '2026-01-02', machine: 'another' };
    const section = readmeSection([older, newer], 'results');
    expect(section).toContain('- 2026-01-01: a machine\n- 2026-01-02: another');
    expect(section).toContain('| Latency, p50, ms | 8.00 (4.00 x) | 2.00 |');
    expect(section).not.toContain('| Latency, p50, ms | 3.00');
    expect(section).toContain('(results/2026-01-02-latency.svg)');
    expect(section).toContain('(results/2026-01-01-page.svg)');
  });

  it('draws a bar for each contender, ours in a colour of its own', () => {
    const svg = summary && chart(summary);
    expect(svg?.match(/<rect /g)).toHaveLength(2);
    expect(svg?.match(/fill="#2f81f7"/g)).toHaveLength(1);
  });
});
