import { isObject } from '../core/raw-event.js';
import { RecentMap } from '../core/recent-map.js';
import { MOST_NAMED_DEVICES, withheldReasons } from '../core/withheld-keys.js';
import type { SentMessage, WithheldDevice, WithheldReason } from '../core/withheld-keys.js';
import type { DeviceStore } from './store/device-store.js';
import { JsonRecords } from './store/json-records.js';
import { deviceOf, isSame, merge, MOST_WITHOUT_OLM, NO_OLM, updateWithoutOlm } from './withheld-record.js';
import type { DeviceName, Entry, KeyShare, RoomRecord } from './withheld-record.js';

export interface WithheldDevicesOptions {
  readonly store: Pick<DeviceStore, 'readSideRecord' | 'writeSideRecord'>;
  /** How many times device lists were fetched. After that a device may be gone. */
  readonly fetchedLists: () => number;
  /** Whether the device still exists. */
  readonly exists: (device: DeviceName) => Promise<boolean>;
}

/** The devices that a share newly left without the key. */
export interface NewlyWithheld {
  /** Devices that had the room's keys before, or were not there. At most `MOST_NAMED_DEVICES`. */
  readonly devices: readonly WithheldDevice[];
  readonly count: number;
  /** How many devices do not get the key of the session, unless that was counted before. By reason. */
  readonly counts: ReadonlyMap<WithheldReason, number>;
}

/** Rooms that are kept in memory; the store has the others. */
const MOST_ROOMS = 100;
const WITHOUT_OLM = JSON.stringify(['withheld']);
const nothing: RoomRecord = {
  sessionId: undefined,
  devices: new Map(),
  others: 0,
  othersWithoutOlm: 0,
  gone: new Set(),
};

/**
 * Remembers for one device which devices cannot decrypt its messages. The crypto library says it only once, but it holds
 * for all further messages of a session, also after a restart. So it is kept in the store, one record for each room.
 */
export class WithheldDevices {
  readonly #options: WithheldDevicesOptions;
  readonly #records: JsonRecords;
  readonly #rooms = new RecentMap<RoomRecord>(MOST_ROOMS);
  /** Devices in any room with which there is no Olm session. */
  #withoutOlm: Promise<RecentMap<true>> | undefined;

  /** Value of `fetchedLists()` when it was last looked whether the devices without an Olm session exist. */
  #checkedLists: number | undefined;

  constructor(options: WithheldDevicesOptions) {
    this.#options = options;
    this.#records = new JsonRecords(options.store);
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
    const { hasChanged, forgotten } = updateWithoutOlm(withoutOlm, share);
    const before = await this.#room(roomId);
    const { room, added, count, counts } = merge(before, share, withoutOlm, forgotten);
    this.#rooms.set(roomId, room);
    if (count > 0 || counts.size > 0) report({ devices: named(added), count, counts });
    if (!isSame(room, before)) await this.#writeRoom(roomId, room);
    if (hasChanged) await this.#records.write(WITHOUT_OLM, [...withoutOlm.keys()]);
  }

  /** The devices in the room that cannot decrypt the messages of the session, for the result of a send. Never rejects. */
  async of(roomId: string, sessionId: unknown): Promise<Omit<SentMessage, 'eventId'>> {
    const { devices, gone, others, othersWithoutOlm, ...room } = await this.#room(roomId);
    const isSameSession = sessionId === room.sessionId;
    const withheld = [...devices].filter(
      ([key, reason]) => (isSameSession || reason === NO_OLM) && !gone.has(deviceOf(key).userId),
    );
    const count = withheld.length + (isSameSession ? others : 0) + othersWithoutOlm;
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
    if (withoutOlm.size !== size) await this.#records.write(WITHOUT_OLM, [...withoutOlm.keys()]);
  }

  async #readRoom(roomId: string): Promise<RoomRecord> {
    const record = await this.#records.read(nameOf(roomId));
    if (!isObject(record)) return nothing;
    const { session: sessionId, devices, others, othersWithoutOlm } = record;
    return {
      sessionId: typeof sessionId === 'string' ? sessionId : undefined,
      devices: new Map((Array.isArray(devices) ? devices : []).filter(isEntry)),
      others: typeof others === 'number' ? others : 0,
      othersWithoutOlm: typeof othersWithoutOlm === 'number' ? othersWithoutOlm : 0,
      gone: new Set(),
    };
  }

  async #readWithoutOlm(): Promise<RecentMap<true>> {
    const record = await this.#records.read(WITHOUT_OLM);
    const withoutOlm = new RecentMap<true>(MOST_WITHOUT_OLM);
    for (const key of Array.isArray(record) ? record : []) if (typeof key === 'string') withoutOlm.set(key, true);
    return withoutOlm;
  }

  #writeRoom(roomId: string, { sessionId: session, devices, others, othersWithoutOlm }: RoomRecord): Promise<void> {
    return this.#records.write(nameOf(roomId), { session, devices: [...devices], others, othersWithoutOlm });
  }
}

/** The names of the side records of received messages have four parts. */
function nameOf(roomId: string): string {
  return JSON.stringify(['withheld', roomId]);
}

function named(devices: readonly Entry[]): WithheldDevice[] {
  return devices.slice(0, MOST_NAMED_DEVICES).map(([key, reason]) => ({ ...deviceOf(key), reason }));
}

function isEntry(entry: unknown): entry is [string, WithheldReason] {
  return Array.isArray(entry) && typeof entry[0] === 'string' && withheldReasons.includes(entry[1] as WithheldReason);
}
