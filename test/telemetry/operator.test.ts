import { readFileSync } from 'node:fs';
import { afterEach, expect, test, vi } from 'vitest';
import { instruments } from '../../src/telemetry/instruments.js';
import { examplesFolder, ExampleProcess } from '../support/example-process.js';

// A process of its own takes a second or two to start on a busy machine.
vi.setConfig({ testTimeout: 60_000 });

let example: ExampleProcess | undefined;
afterEach(() => example?.kill('SIGKILL'));

/** The metrics' names as Prometheus sees them, with what histograms are made of. */
function namesIn(scrape: string): Set<string> {
  const samples = scrape.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Set(samples.map((line) => line.split(/[{ ]/, 1)[0] ?? ''));
}

test('examples/operator.ts answers probes and scrapes, with every metric that the dashboard asks for', async () => {
  example = new ExampleProcess('operator', {});
  const [, url = ''] = await example.printed(/listening on (\S+)/);
  const health = await fetch(`${url}/healthz`);
  expect([health.status, await health.json()]).toEqual([200, { status: 'ok', reasons: [] }]);

  const scraped = await fetch(`${url}/metrics`);
  expect(scraped.headers.get('content-type')).toMatch(/^text\/plain/);
  const scrape = await scraped.text();
  const names = namesIn(scrape);

  const dashboard = readFileSync(`${examplesFolder}grafana-dashboard.json`, 'utf8');
  const { panels } = JSON.parse(dashboard) as { panels: { title: string; targets: { expr: string }[] }[] };
  const asked = new Set(
    panels.flatMap(({ targets }) => targets.flatMap(({ expr }) => expr.match(/\bmatrix_\w+/g) ?? [])),
  );
  expect(asked.size).toBeGreaterThan(15);
  expect([...asked].filter((name) => !names.has(name))).toEqual([]);
  // And none is left out.
  const shown = [...asked].join(' ');
  for (const { name } of Object.values(instruments)) expect(shown).toContain(name.replaceAll('.', '_'));

  expect(scrape).toMatch(/^matrix_client_count\{state="live",.*\} 2$/m);
  expect(scrape).toMatch(/^matrix_send_duration_count\{outcome="sent",.*\} [1-9]/m);
  expect(scrape).not.toMatch(/@\w|![A-Za-z0-9]|\$[A-Za-z0-9]|syt_/);

  example.kill('SIGTERM');
  const { code, stdout, stderr } = await example.ended();
  expect([code, stderr]).toEqual([0, '']);
  expect(stdout).toMatch(/SIGTERM: shutting down; \d+ messages sent, \d+ seen\n$/);
});
