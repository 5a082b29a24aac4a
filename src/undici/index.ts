/**
 * Sends requests with undici's own pools and HTTP/2.
 *
 * @module matrix-client-manager/undici
 */

export { undiciTransport } from './undici-transport.js';
export type { UndiciTransportOptions } from './undici-transport.js';
