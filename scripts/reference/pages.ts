import { errorsPage } from './errors-page.js';
import { eventsPage } from './events-page.js';
import { metricsPage } from './metrics-page.js';
import { optionsPage } from './options-page.js';
import { PublicTypes } from './public-types.js';

/** The pages of docs/reference, by path from the root of the repository. */
export function referencePages(): ReadonlyMap<string, string> {
  const types = new PublicTypes();
  return new Map([
    ['docs/reference/options.md', optionsPage(types)],
    ['docs/reference/errors.md', errorsPage(types)],
    ['docs/reference/events.md', eventsPage(types)],
    ['docs/reference/metrics.md', metricsPage(types)],
  ]);
}
