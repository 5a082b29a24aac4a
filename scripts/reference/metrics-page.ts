import { instruments } from '../../src/telemetry/instruments.js';
import type { InstrumentKind } from '../../src/telemetry/instruments.js';
import { fieldsTable } from './fields-table.js';
import { code, page, prose, table } from './markdown.js';
import type { PublicTypes } from './public-types.js';

/** What OpenTelemetry calls them. */
const kinds: Readonly<Record<InstrumentKind, string>> = {
  counter: 'counter',
  duration: 'histogram',
  gauge: 'observable gauge',
  level: 'observable up-down counter',
};

export function metricsPage(types: PublicTypes): string {
  const metrics = Object.values(instruments).map(({ name, kind, unit, labels, description }) => [
    code(name),
    kinds[kind],
    code(unit),
    Object.keys(labels).map(code).join(', '),
    prose(description),
  ]);
  return page(
    'Metrics and diagnostics channels',
    '## Metrics',
    'They go to the option `meterProvider`, else to the global one of OpenTelemetry. Each has the label `server.address`, the host of the homeserver, as well. No label names a user, a room or an event. Durations are in seconds.',
    table(['Metric', 'Kind', 'Unit', 'Labels', 'Meaning'], metrics),
    '## Numbers of stats',
    `Of \`manager.stats()\`. ${prose(types.docOf('ManagerStats'))} Durations are \`{ count, totalMs, maxMs }\`, in milliseconds.`,
    fieldsTable('ManagerStats', types.fieldsOf('ManagerStats')),
    '## Diagnostics channels',
    prose(types.docOf('DiagnosticsMessages')),
    ...[...types.nestedFieldsOf('DiagnosticsMessages')].flatMap(([name, { meaning, fields }]) => [
      `### ${name}`,
      prose(meaning),
      fieldsTable(name, fields),
    ]),
  );
}
