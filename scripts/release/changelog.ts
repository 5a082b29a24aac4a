const UNRELEASED = '## [Unreleased]';

/**
 * The changelog with what is unreleased under the heading of a version.
 * @param date - of the release, such as `2026-11-28`
 */
export function releasedChangelog(changelog: string, version: string, date: string): string {
  const [before, unreleased, ...rest] = changelog.split(/^(?=## \[)/m);
  if (before === undefined || unreleased === undefined || !unreleased.startsWith(UNRELEASED)) {
    throw new Error(`expected the first section of CHANGELOG.md to be ${UNRELEASED}`);
  }
  const entries = unreleased.slice(UNRELEASED.length).trim();
  if (!entries.includes('- ')) throw new Error('expected CHANGELOG.md to tell something under Unreleased');
  if (rest.some((section) => section.startsWith(`## [${version}]`))) {
    throw new Error(`CHANGELOG.md has a section for ${version} already: is a changeset missing?`);
  }
  return [
    before,
    `${UNRELEASED}\n\n`,
    `## [${version}] - ${date}\n\n${entries}\n`,
    ...rest.map((s) => `\n${s.trim()}\n`),
  ].join('');
}
