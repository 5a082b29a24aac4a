import type { RecentMap } from '../core/recent-map.js';
import type { WithheldDevice, WithheldReason } from '../core/withheld-keys.js';

export type DeviceName = Pick<WithheldDevice, 'userId' | 'deviceId'>;

/** A device that is told that it does not get a key. */
export interface ToldDevice extends WithheldDevice {
  /** Undefined with `m.no_olm`, which holds for every session. */
  readonly sessionId: string | undefined;
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

export interface RoomRecord {
  /** The session that the devices do not get. Those with `m.no_olm` get no other one either. */
  readonly sessionId: string | undefined;
  readonly devices: ReadonlyMap<string, WithheldReason>;
  /** How many further devices do not get the session. Their keys come after those of `devices`, see `keyOf`. */
  readonly others: number;
  /** How many further devices have no Olm session. */
  readonly othersWithoutOlm: number;
  /** Owners of the devices who are not in the room any more. */
  readonly gone: ReadonlySet<string>;
}

/** Devices that are remembered of a room's session. Further ones are only counted. */
const MOST_DEVICES = 1_000;
/** Devices without an Olm session that are remembered of all rooms. Further ones are only counted. */
export const MOST_WITHOUT_OLM = 1_000;
export const NO_OLM = 'm.no_olm';

/** A device by its key, and why it does not get the session. */
export type Entry = readonly [key: string, reason: WithheldReason];

interface News {
  /** Devices that are reported as new, as far as they are known by name. */
  readonly added: readonly Entry[];
  /** How many devices are new. */
  readonly count: number;
  /** How many devices do not get the key of the session, unless that was counted before. By reason. */
  readonly counts: ReadonlyMap<WithheldReason, number>;
}

export interface Merged extends News {
  readonly room: RoomRecord;
}

interface MergedSession extends News {
  readonly devices: ReadonlyMap<string, WithheldReason>;
  readonly others: number;
  readonly counts: Map<WithheldReason, number>;
}

/** Returns whether the devices without an Olm session have changed, and those for which there is no place any more. */
export function updateWithoutOlm(
  withoutOlm: RecentMap<true>,
  { told, given }: KeyShare,
): { hasChanged: boolean; forgotten: ReadonlySet<string> } {
  const toldKeys = told
    .filter(({ reason }) => reason === NO_OLM)
    .map(keyOf)
    .toSorted();
  const before = toldKeys.length > 0 ? [...withoutOlm.keys()] : [];
  const hasNew = toldKeys.some((key) => !withoutOlm.has(key));
  for (const key of toldKeys) withoutOlm.set(key, true);
  const forgotten = new Set([...before, ...toldKeys].filter((key) => !withoutOlm.has(key)));
  const hasHealed = given.filter((device) => withoutOlm.delete(keyOf(device))).length > 0;
  return { hasChanged: hasHealed || hasNew, forgotten };
}

/** The record after a share, and what is new. */
export function merge(
  before: RoomRecord,
  share: KeyShare,
  withoutOlm: ReadonlyMap<string, true>,
  forgotten: ReadonlySet<string>,
): Merged {
  const givenKeys = new Set(share.given.map(keyOf));
  const told = share.told.map((device): Entry => [keyOf(device), device.reason]).filter(([key]) => !givenKeys.has(key));
  const sessionId = share.told.find((device) => device.sessionId !== undefined)?.sessionId ?? before.sessionId;
  const ofSession = mergeSession(before, told, givenKeys, sessionId === before.sessionId);
  const noOlm = mergeWithoutOlm(before, told, { withoutOlm, forgotten, members: share.members });
  const entriesWithoutOlm = noOlm.entries.filter(([key]) => !ofSession.devices.has(key));
  const addedWithoutOlm = entriesWithoutOlm.filter(([key]) => before.devices.get(key) !== NO_OLM);
  const devices = new Map([...ofSession.devices, ...entriesWithoutOlm]);
  const owners = [...devices.keys()].map((key) => deviceOf(key).userId);
  const gone = new Set(share.members && owners.filter((userId) => !share.members?.has(userId)));
  const { counts } = ofSession;
  const countWithoutOlm = addedWithoutOlm.length + noOlm.forgottenCount;
  if (countWithoutOlm > 0) counts.set(NO_OLM, countWithoutOlm);
  return {
    room: { sessionId, devices, others: ofSession.others, othersWithoutOlm: noOlm.others, gone },
    added: [...ofSession.added, ...addedWithoutOlm],
    count: ofSession.count + countWithoutOlm,
    counts,
  };
}

/**
 * The devices that do not get the session for other reasons than `m.no_olm`. The first ones by key are remembered, not the
 * first ones told: the crypto library tells of the same devices in another order with each session.
 */
function mergeSession(
  before: RoomRecord,
  allTold: readonly Entry[],
  givenKeys: ReadonlySet<string>,
  isSameSession: boolean,
): MergedSession {
  const kept = [...before.devices].filter(([, reason]) => reason !== NO_OLM);
  const told = allTold.filter(([, reason]) => reason !== NO_OLM).toSorted(([a], [b]) => (a < b ? -1 : 1));
  // Where some were only counted, a device that comes after the remembered ones may have been one of them.
  const last = before.others > 0 ? (kept.at(-1)?.[0] ?? '') : undefined;
  const mayBeOther = ([key]: Entry): boolean => last !== undefined && key > last;
  const isKnown = ([key, reason]: Entry): boolean => before.devices.get(key) === reason;
  const others = told.filter(mayBeOther).length;
  const added = told.filter((entry) => !mayBeOther(entry) && !isKnown(entry));
  const counts = new Map<WithheldReason, number>();
  const count = (entries: readonly Entry[]): void => {
    for (const [, reason] of entries) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  };
  if (!isSameSession) {
    count(told);
    const devices = new Map(told.slice(0, MOST_DEVICES));
    const newOthers = Math.max(0, others - before.others);
    return { devices, others: told.length - devices.size, added, count: added.length + newOthers, counts };
  }
  // The crypto library tells each device once. If the messages could not be sent, it tells all of them again.
  const isRepeated = told.some(isKnown);
  const newOthers = isRepeated ? 0 : others;
  count(isRepeated ? added : told);
  const merged = new Map(kept.filter(([key]) => !givenKeys.has(key)));
  for (const entry of told) if (!mayBeOther(entry)) merged.set(...entry);
  const devices = new Map([...merged].toSorted(([a], [b]) => (a < b ? -1 : 1)).slice(0, MOST_DEVICES));
  return {
    devices,
    others: before.others + newOthers + merged.size - devices.size,
    added,
    count: added.length + newOthers,
    counts,
  };
}

/** The devices in the room that have no Olm session. */
function mergeWithoutOlm(
  before: RoomRecord,
  told: readonly Entry[],
  {
    withoutOlm,
    forgotten,
    members,
  }: {
    readonly withoutOlm: ReadonlyMap<string, true>;
    readonly forgotten: ReadonlySet<string>;
    readonly members: ReadonlySet<string> | undefined;
  },
): { entries: readonly Entry[]; others: number; forgottenCount: number } {
  const isKnown = (key: string): boolean => before.devices.get(key) === NO_OLM;
  const entries = [...withoutOlm.keys()]
    .filter((key) => isKnown(key) || !members || members.has(deviceOf(key).userId))
    .map((key): Entry => [key, NO_OLM]);
  const toldKeys = told.filter(([, reason]) => reason === NO_OLM).map(([key]) => key);
  const forgottenKeys = toldKeys.some(isKnown) ? [] : toldKeys.filter((key) => forgotten.has(key)); // else told again
  const forgottenBefore = [...before.devices.keys()].filter((key) => isKnown(key) && forgotten.has(key));
  // It is not known which of the others get an Olm session later. So they count as long as any is known without one.
  const others = entries.length > 0 ? before.othersWithoutOlm + forgottenKeys.length + forgottenBefore.length : 0;
  return { entries, others, forgottenCount: forgottenKeys.length };
}

/** Whether the records are stored alike. */
export function isSame(a: RoomRecord, b: RoomRecord): boolean {
  const isAlike =
    a.othersWithoutOlm === b.othersWithoutOlm &&
    a.sessionId === b.sessionId &&
    a.others === b.others &&
    a.devices.size === b.devices.size;
  return isAlike && [...a.devices].every(([key, reason]) => b.devices.get(key) === reason);
}

/** A user id contains no NUL, so the key is unambiguous. */
function keyOf({ userId, deviceId }: DeviceName): string {
  return `${userId}\0${deviceId}`;
}

export function deviceOf(key: string): DeviceName {
  const end = key.indexOf('\0');
  return { userId: key.slice(0, end), deviceId: key.slice(end + 1) };
}
