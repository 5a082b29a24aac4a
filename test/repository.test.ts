import { globSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { parseDocument } from 'yaml';
import { releasedChangelog } from '../scripts/release/changelog.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const read = (path: string): string => readFileSync(root + path, 'utf8');

interface Step {
  readonly uses?: string;
  readonly run?: string;
}

interface Workflow {
  readonly permissions: Readonly<Record<string, string>>;
  readonly jobs: Readonly<
    Record<
      string,
      { readonly 'timeout-minutes'?: number; readonly permissions?: object; readonly steps: readonly Step[] }
    >
  >;
}

const yamlFiles = globSync('.github/**/*.yml', { cwd: root }).toSorted();
const workflows = yamlFiles.filter((path) => path.startsWith('.github/workflows/'));
const workflow = (path: string): Workflow => parseDocument(read(path)).toJS() as Workflow;
const packageJson = JSON.parse(read('package.json')) as { version: string; engines: { node: string }; scripts: object };

test.each(yamlFiles)('%s is valid YAML', (path) => {
  const { errors, warnings } = parseDocument(read(path));
  expect([...errors, ...warnings]).toEqual([]);
});

describe.each(workflows)('%s', (path) => {
  test('may read the repository, and nothing else unless a job says so', () => {
    expect(workflow(path).permissions).toEqual({ contents: 'read' });
  });

  test('runs actions of GitHub only, in bounded time, and scripts that exist', () => {
    for (const job of Object.values(workflow(path).jobs)) {
      expect(job['timeout-minutes']).toBeGreaterThan(0);
      for (const { uses, run = '' } of job.steps) {
        if (uses !== undefined) expect(uses).toMatch(/^actions\/[\w-]+@v\d+$/);
        for (const [, script = ''] of run.matchAll(/npm run ([\w:]+)/g))
          expect(packageJson.scripts).toHaveProperty([script]);
      }
    }
  });
});

test('CI tries the oldest Node that package.json allows', () => {
  const oldest = packageJson.engines.node.replace('>=', '');
  expect(read('.github/workflows/ci.yml')).toContain(`node-version: ${oldest}.0\n`);
});

test('releases have a provenance', () => {
  const { publish } = workflow('.github/workflows/release.yml').jobs;
  expect(publish?.permissions).toEqual({ contents: 'read', 'id-token': 'write' });
  expect(packageJson).toMatchObject({ publishConfig: { access: 'public', provenance: true } });
});

test('.editorconfig says what oxfmt does', () => {
  const { printWidth } = JSON.parse(read('.oxfmtrc.json')) as { printWidth: number };
  const everywhere = read('.editorconfig').split('[*.md]')[0];
  expect(everywhere).toContain(`max_line_length = ${printWidth}\n`);
  expect(everywhere).toContain('indent_style = space\nindent_size = 2\n');
});

describe('a release', () => {
  const changelog =
    '# Changelog\n\nText.\n\n## [Unreleased]\n\n### Added\n\n- A.\n\n## [0.1.0] - 2026-01-01\n\n### Added\n\n- B.\n';

  test('puts what is unreleased under its version and date', () => {
    expect(releasedChangelog(changelog, '0.2.0', '2026-02-03')).toBe(
      '# Changelog\n\nText.\n\n## [Unreleased]\n\n## [0.2.0] - 2026-02-03\n\n### Added\n\n- A.\n\n## [0.1.0] - 2026-01-01\n\n### Added\n\n- B.\n',
    );
  });

  test('can be the first one', () => {
    const first = releasedChangelog('# Changelog\n\n## [Unreleased]\n\n- A.\n', '0.1.0', '2026-02-03');
    expect(first).toBe('# Changelog\n\n## [Unreleased]\n\n## [0.1.0] - 2026-02-03\n\n- A.\n');
  });

  test('is refused where nothing is unreleased, or the version has a section already', () => {
    const released = releasedChangelog(changelog, '0.2.0', '2026-02-03');
    expect(() => releasedChangelog(released, '0.3.0', '2026-02-04')).toThrow('under Unreleased');
    expect(() => releasedChangelog(changelog, '0.1.0', '2026-02-04')).toThrow('changeset missing');
  });

  test('finds the changelog as it is in the repository', () => {
    const text = releasedChangelog(read('CHANGELOG.md'), '999.0.0', '2026-02-03');
    expect(text).toContain('## [Unreleased]\n\n## [999.0.0] - 2026-02-03\n\n###');
  });
});
