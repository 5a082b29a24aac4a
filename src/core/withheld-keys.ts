/**
 * Why a device did not get the key of a message, in the codes of Matrix. `m.unverified`: `trust` does not allow the
 * device. `m.blacklisted`: the user's client has blocked it. `m.no_olm`: no encrypted channel to it could be set up, for
 * instance because it has no one-time keys left. The other codes are not in use at present.
 * @see https://spec.matrix.org/v1.16/client-server-api/#mroom_keywithheld
 */
export type WithheldReason = (typeof withheldReasons)[number];

export const withheldReasons = [
  'm.unverified',
  'm.blacklisted',
  'm.no_olm',
  'm.unauthorised',
  'm.unavailable',
] as const;

/** A device that did not get the key of a message, so that it cannot decrypt it. */
export interface WithheldDevice {
  readonly userId: string;
  readonly deviceId: string;
  readonly reason: WithheldReason;
}

/** At most this many devices are named at once. */
export const MOST_NAMED_DEVICES = 100;

/** A message that the homeserver has accepted. */
export interface SentMessage {
  readonly eventId: string;
  /**
   * Devices in the room that did not get the key of the encrypted message and cannot decrypt it: at most 100, see
   * `keysWithheldCount`. Absent if there are none. Absent as well for a durable message that an earlier call has sent.
   */
  readonly keysWithheld?: readonly WithheldDevice[];
  /** How many devices did not get the key. Present together with `keysWithheld`. */
  readonly keysWithheldCount?: number;
}

/** Devices of a room that do not get the keys of a user's messages from now on. */
export interface KeysWithheld {
  /** The user whose messages the devices cannot decrypt. */
  readonly userId: string;
  readonly roomId: string;
  /** At most 100; see `count`. */
  readonly devices: readonly WithheldDevice[];
  /** How many devices there are. */
  readonly count: number;
}
