import { isObject } from '../core/raw-event.js';
import { RecentMap } from '../core/recent-map.js';
import { MOST_NAMED_DEVICES, withheldReasons } from '../core/withheld-keys.js';
import type { SentMessage, WithheldDevice, WithheldReason } from '../core/withheld-keys.js';
import type { DeviceStore } from './store/device-store.js';

export type DeviceName = Pick<WithheldDevice, 'userId' | 'deviceId'>;

/** A device that is told that it does not get a key. */
export interface ToldDevice extends WithheldDevice {
  /** Undefined with `m.no_olm`, which holds for every session. */
  readonly sessionId: string | undefined;
}

export interface WithheldDevicesOptions {
  readonly store: Pick<DeviceStore, 'readReceived' | 'writeReceived'>;
  /** How many times device lists were fetched. After that a device may be gone. */
  readonly fetchedLists: () => number;
  /** Whether the device still exists. */
  readonly exists: (device: DeviceName) => Promise<boolean>;
}

/** What the sharing of a room's session has brought. */
export interface KeyShare {
  /** The devices that are told only now. The crypto library tells each once per session, and `m.no_olm` once for ever. */
  readonly told: readonly ToldDevice[];
  /** The devices that get the key only now. */
  readonly given: readonly DeviceName[];
  /** The users for whom the room's messages are encrypted; undefined if no device was known before. */
  readonly members: ReadonlySet<string> | undefined;
}

/** What is new after a share. */
export interface NewlyWithheld {
  /** Devices that had the room's keys before, or were not there. At most `MOST_NAMED_DEVICES`. */
  readonly devices: readonly WithheldDevice[];
  readonly count: number;
  /** How many devices do not get the key of the session, unless that was counted before. By reason. */
  readonly counts: ReadonlyMap<WithheldReason, number>;
}

interface RoomRecord {
  /** The session that the devices do not get. Those with `m.no_olm` get no other one either. */
  readonly sessionId: string | undefined;
  readonly devices: ReadonlyMap<string, WithheldReason>;
  /** How many further devices do not get the session. */
  readonly others: number;
  /** Owners of the devices who are not in the room any more. */
  readonly gone: ReadonlySet<string>;
}

/** Devices that are remembered of a room. Further ones are only counted. */
const MOST_DEVICES = 1_000;
/** Rooms that are kept in memory; the store has the others. */
const MOST_ROOMS = 100;
/** Devices without an Olm session that are remembered. */
const MOST_WITHOUT_OLM = 1_000;
const WITHOUT_OLM = JSON.stringify(['withheld']);
const NO_OLM = 'm.no_olm';
const nothing: RoomRecord = { sessionId: undefined, devices: new Map(), others: 0, gone: new Set() };

/**
 * Remembers for one device which devices cannot decrypt its messages. The crypto library says it only once, but it holds
 * for all further messages of a session, also after a restart. So it is kept in the store, one record for each room.
 */
export class WithheldDevices {
  readonly #options: WithheldDevicesOptions;
  readonly #rooms = new RecentMap<RoomRecord>(MOST_ROOMS);
  /** Devices in any room with which there is no Olm session. */
  #withoutOlm: Promise<RecentMap<true>> | undefined;

  /** Value of `fetchedLists()` when it was last looked whether the devices without an Olm session exist. */
  #checkedLists: number | undefined;

  constructor(options: WithheldDevicesOptions) {
    this.#options = options;
  }

  /** Whether devices are known that may not get the room's keys. Never rejects. */
  async hasAny(roomId: string): Promise<boolean> {
    const { devices } = await this.#room(roomId);
    const withoutOlm = await this.#devicesWithoutOlm();
    const hasAny = devices.size > 0 || withoutOlm.size > 0;
    if (withoutOlm.size > 0) await this.#dropDeleted(withoutOlm);
    return hasAny;
  }

  /**
   * Takes note of what the sharing of a session has brought. Never rejects, unless `report` throws.
   * @param report - called with what is new, before it is stored: after a crash in between, the same is reported again
   */
  async note(roomId: string, share: KeyShare, report: (newly: NewlyWithheld) => void): Promise<void> {
    const withoutOlm = await this.#devicesWithoutOlm();
    const hasChanged = updateWithoutOlm(withoutOlm, share);
    const before = await this.#room(roomId);
    const { room, counts } = merge(before, share, withoutOlm);
    this.#rooms.set(roomId, room);
    const added = [...room.devices].filter(([key, reason]) => before.devices.get(key) !== reason);
    const count = added.length + Math.max(0, room.others - before.others);
    if (count > 0 || counts.size > 0) report({ devices: named(added), count, counts });
    if (!isSame(room, before)) await this.#writeRoom(roomId, room);
    if (hasChanged) await this.#write(WITHOUT_OLM, [...withoutOlm.keys()]);
  }

  /** The devices in the room that cannot decrypt the messages of the session, for the result of a send. Never rejects. */
  async of(roomId: string, sessionId: unknown): Promise<Omit<SentMessage, 'eventId'>> {
    const { devices, gone, others, ...room } = await this.#room(roomId);
    const isSameSession = sessionId === room.sessionId;
    const withheld = [...devices].filter(
      ([key, reason]) => (isSameSession || reason === NO_OLM) && !gone.has(deviceOf(key).userId),
    );
    const count = withheld.length + (isSameSession ? others : 0);
    return count === 0 ? {} : { keysWithheld: named(withheld), keysWithheldCount: count };
  }

  async #room(roomId: string): Promise<RoomRecord> {
    const read = this.#rooms.get(roomId) ?? (await this.#readRoom(roomId));
    const room = this.#rooms.get(roomId) ?? read; // it may have changed meanwhile
    this.#rooms.set(roomId, room);
    return room;
  }

  #devicesWithoutOlm(): Promise<RecentMap<true>> {
    this.#withoutOlm ??= this.#readWithoutOlm();
    return this.#withoutOlm;
  }

  async #dropDeleted(withoutOlm: RecentMap<true>): Promise<void> {
    const { fetchedLists, exists } = this.#options;
    if (this.#checkedLists === fetchedLists()) return;
    this.#checkedLists = fetchedLists();
    const { size } = withoutOlm;
    for (const key of withoutOlm.keys()) if (!(await exists(deviceOf(key)))) withoutOlm.delete(key);
    if (withoutOlm.size !== size) await this.#write(WITHOUT_OLM, [...withoutOlm.keys()]);
  }

  async #readRoom(roomId: string): Promise<RoomRecord> {
    const record = await this.#read(nameOf(roomId));
    if (!isObject(record)) return nothing;
    const { session: sessionId, devices, others } = record;
    return {
      sessionId: typeof sessionId === 'string' ? sessionId : undefined,
      devices: new Map((Array.isArray(devices) ? devices : []).filter(isEntry)),
      others: typeof others === 'number' ? others : 0,
      gone: new Set(),
    };
  }

  async #readWithoutOlm(): Promise<RecentMap<true>> {
    const record = await this.#read(WITHOUT_OLM);
    const withoutOlm = new RecentMap<true>(MOST_WITHOUT_OLM);
    for (const key of Array.isArray(record) ? record : []) if (typeof key === 'string') withoutOlm.set(key, true);
    return withoutOlm;
  }

  #writeRoom(roomId: string, { sessionId: session, devices, others }: RoomRecord): Promise<void> {
    return this.#write(nameOf(roomId), { session, devices: [...devices], others });
  }

  /** A failure of the store stops the client, and is reported by the store. It is no reason to send nothing. */
  async #read(name: string): Promise<unknown> {
    try {
      const bytes = await this.#options.store.readReceived(name);
      return bytes && (JSON.parse(Buffer.from(bytes).toString()) as unknown);
    } catch {
      return undefined;
    }
  }

  async #write(name: string, record: unknown): Promise<void> {
    await this.#options.store.writeReceived(name, Buffer.from(JSON.stringify(record))).catch(() => {});
  }
}

/** Returns whether the devices without an Olm session have changed. */
function updateWithoutOlm(withoutOlm: RecentMap<true>, { told, given }: KeyShare): boolean {
  const toldKeys = told.filter(({ reason }) => reason === NO_OLM).map(keyOf);
  const hasNew = toldKeys.some((key) => !withoutOlm.has(key));
  for (const key of toldKeys) withoutOlm.set(key, true);
  return given.filter((device) => withoutOlm.delete(keyOf(device))).length > 0 || hasNew;
}

/** The record after a share, and how many devices the share withholds the key from. */
function merge(
  before: RoomRecord,
  { told, given, members }: KeyShare,
  withoutOlm: ReadonlyMap<string, true>,
): { room: RoomRecord; counts: Map<WithheldReason, number> } {
  const sessionId = told.find((device) => device.sessionId !== undefined)?.sessionId ?? before.sessionId;
  const isSameSession = sessionId === before.sessionId;
  const givenKeys = new Set(given.map(keyOf));
  const kept = [...before.devices].filter(([key, reason]) =>
    reason === NO_OLM ? withoutOlm.has(key) : isSameSession && !givenKeys.has(key),
  );
  const devices = new Map(kept);
  const counts = new Map<WithheldReason, number>();
  let others = isSameSession ? before.others : 0;
  const add = (key: string, reason: WithheldReason, isCounted: boolean): void => {
    if (isCounted) counts.set(reason, (counts.get(reason) ?? 0) + 1);
    if (devices.size < MOST_DEVICES || devices.has(key)) devices.set(key, reason);
    else others++;
  };
  for (const device of told) {
    const key = keyOf(device);
    if (device.reason === NO_OLM || givenKeys.has(key)) continue;
    add(key, device.reason, !isSameSession || before.devices.get(key) !== device.reason);
  }
  for (const key of withoutOlm.keys()) {
    const isMember = !members || members.has(deviceOf(key).userId);
    if (isMember && !devices.has(key)) add(key, NO_OLM, before.devices.get(key) !== NO_OLM);
  }
  const owners = [...devices.keys()].map((key) => deviceOf(key).userId);
  const gone = new Set(members && owners.filter((userId) => !members.has(userId)));
  return { room: { sessionId, devices, others, gone }, counts };
}

/** Whether the records are stored alike. */
function isSame(a: RoomRecord, b: RoomRecord): boolean {
  const isAlike = a.sessionId === b.sessionId && a.others === b.others && a.devices.size === b.devices.size;
  return isAlike && [...a.devices].every(([key, reason]) => b.devices.get(key) === reason);
}

/** The names of records of received messages have four parts. */
function nameOf(roomId: string): string {
  return JSON.stringify(['withheld', roomId]);
}

/** A user id contains no NUL, so the key is unambiguous. */
function keyOf({ userId, deviceId }: DeviceName): string {
  return `${userId}\0${deviceId}`;
}

function deviceOf(key: string): DeviceName {
  const end = key.indexOf('\0');
  return { userId: key.slice(0, end), deviceId: key.slice(end + 1) };
}

function named(devices: readonly (readonly [string, WithheldReason])[]): WithheldDevice[] {
  return devices.slice(0, MOST_NAMED_DEVICES).map(([key, reason]) => ({ ...deviceOf(key), reason }));
}

function isEntry(entry: unknown): entry is [string, WithheldReason] {
  return Array.isArray(entry) && typeof entry[0] === 'string' && withheldReasons.includes(entry[1] as WithheldReason);
}
