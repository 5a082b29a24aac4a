import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { libraryVersion } from '../../src/core/version.js';
import { instruments } from '../../src/telemetry/instruments.js';

const read = (path: string): string => readFileSync(fileURLToPath(new URL(`../../${path}`, import.meta.url)), 'utf8');

it('every metric has a name under matrix., a unit and a description', () => {
  for (const { name, unit, description } of Object.values(instruments)) {
    expect(name).toMatch(/^matrix(\.[a-z_]+)+$/);
    expect(unit).toMatch(/^(s|1|\{[a-z]+\})$/);
    expect(description).toMatch(/^[A-Z]/);
  }
});

it('the version is that of package.json', () => {
  expect(libraryVersion).toBe((JSON.parse(read('package.json')) as { version: string }).version);
});
