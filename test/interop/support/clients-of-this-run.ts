import type { ForeignClientName } from '../../../scripts/interop/foreign-clients.js';

/** Whether this is the form for CI, which leaves out an older client and the large rooms. */
export const isShortRun = process.env['npm_lifecycle_event'] === 'test:interop:short';

export const clientsOfThisRun: readonly ForeignClientName[] = isShortRun
  ? ['matrix-nio 0.26 (vodozemac)', 'mautrix-go 0.32 (goolm)']
  : ['matrix-nio 0.26 (vodozemac)', 'matrix-nio 0.25 (libolm)', 'mautrix-go 0.32 (goolm)'];
