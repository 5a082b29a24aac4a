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
