import * as v from 'valibot';
import type { Clock } from '../core/clock.js';
import type { Actor } from './room-calls.js';

const capabilitiesSchema = v.object({
  capabilities: v.object({ 'm.room_versions': v.optional(v.object({ default: v.string() })) }),
});

/** How long an answer is used, in milliseconds. A homeserver may be updated meanwhile. */
const LIFETIME_MS = 3_600_000;
/** For a homeserver that does not tell it. */
const OLD_VERSION = '1';

/**
 * The version of rooms that are created without one.
 * @see https://spec.matrix.org/v1.16/client-server-api/#mroom_versions-capability
 */
export class DefaultRoomVersion {
  readonly #clock: Clock;
  #known: { readonly version: string; readonly until: number } | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  async read(actor: Actor): Promise<string> {
    if (this.#known && this.#clock.now() < this.#known.until) return this.#known.version;
    const { capabilities } = await actor.request(capabilitiesSchema, {
      operation: 'asking for the room versions of the homeserver',
      method: 'GET',
      path: '/_matrix/client/v3/capabilities',
    });
    const version = capabilities['m.room_versions']?.default ?? OLD_VERSION;
    this.#known = { version, until: this.#clock.now() + LIFETIME_MS };
    return version;
  }
}
