/** A message to a device that nobody has sent. */
export interface InjectedMessages {
  readonly userId: string;
  readonly deviceId: string;
  /** Events without an id, such as `{ type, sender, content }`. May be malformed in any way. */
  readonly events: readonly object[];
}

/** A device that the homeserver shows in a user's list, or in the place of one of the user's devices. */
export interface InjectedDevice {
  readonly userId: string;
  readonly deviceId: string;
  /** What `/keys/query` says of the device: `device_keys` of a request to `/keys/upload`. */
  readonly deviceKeys: object;
  /** What each response of `/keys/claim` has for the device. @default nothing else than without the fault */
  readonly oneTimeKeys?: object;
}

/** What a response says of one device. */
export interface DeviceEntry {
  readonly userId: string;
  readonly deviceId: string;
  /** `device_keys` or `one_time_keys`. */
  readonly section: string;
  readonly value: object;
}

type Section = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

/** The body of a response of `/keys/query` or `/keys/claim` with another entry for a device. */
export function withDevice(body: unknown, { userId, deviceId, section, value }: DeviceEntry): unknown {
  const all = new Map(Object.entries((body ?? {}) as Readonly<Record<string, Section>>));
  const users = new Map(Object.entries(all.get(section) ?? {}));
  users.set(userId, Object.fromEntries([...Object.entries(users.get(userId) ?? {}), [deviceId, value]]));
  return Object.fromEntries([...all, [section, Object.fromEntries(users)]]);
}
