import { unrecognized } from '../matrix-error.js';
import type { Endpoint } from '../server/endpoint.js';

const PATHS = [
  '/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device',
  '/_matrix/client/unstable/org.matrix.msc4143/rtc/transports',
  '/_matrix/client/unstable/org.matrix.msc2965/auth_metadata',
  '/_matrix/client/v1/auth_metadata',
  '/_matrix/client/v1/rtc/transports',
];

/** Requests of matrix-js-sdk that Synapse does not serve either. They get 404 and do not count as unhandled. */
export const unsupportedEndpoints: readonly Endpoint[] = PATHS.map((path) => ({
  method: 'GET',
  path,
  auth: 'none',
  handle: () => {
    throw unrecognized();
  },
}));
