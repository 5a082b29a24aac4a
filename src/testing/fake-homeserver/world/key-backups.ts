import type { JsonObject } from '../json.js';
import { objectOrEmpty } from '../json.js';

/** One version of a user's key backup: what it is sealed with, and the sealed keys by room and session. */
export class KeyBackup {
  authData: JsonObject;
  etag = 0;
  readonly rooms = new Map<string, Map<string, JsonObject>>();

  constructor(
    readonly version: string,
    readonly algorithm: unknown,
    authData: JsonObject,
  ) {
    this.authData = authData;
  }

  get count(): number {
    return [...this.rooms.values()].reduce((sum, sessions) => sum + sessions.size, 0);
  }

  /** Keeps the better one of two keys for the same session, as the specification orders them. */
  put(roomId: string, sessionId: string, key: JsonObject): void {
    const sessions = this.rooms.get(roomId) ?? new Map<string, JsonObject>();
    this.rooms.set(roomId, sessions);
    const old = sessions.get(sessionId);
    if (old && !isBetter(key, old)) return;
    sessions.set(sessionId, key);
    this.etag++;
  }

  delete(roomId?: string, sessionId?: string): void {
    if (roomId === undefined) this.rooms.clear();
    else if (sessionId === undefined) this.rooms.delete(roomId);
    else this.rooms.get(roomId)?.delete(sessionId);
    this.etag++;
  }

  sessionsOf(roomId: string): JsonObject {
    return { sessions: Object.fromEntries(this.rooms.get(roomId) ?? []) };
  }
}

/** The key backups of all users; only the newest of each takes keys. */
export class KeyBackups {
  readonly #byUser = new Map<string, { last: number; readonly backups: Map<string, KeyBackup> }>();

  add(userId: string, { algorithm, auth_data: authData }: JsonObject): KeyBackup {
    const own = this.#byUser.get(userId) ?? { last: 0, backups: new Map<string, KeyBackup>() };
    this.#byUser.set(userId, own);
    const backup = new KeyBackup(String(++own.last), algorithm, objectOrEmpty(authData));
    own.backups.set(backup.version, backup);
    return backup;
  }

  get(userId: string, version: string): KeyBackup | undefined {
    return this.#byUser.get(userId)?.backups.get(version);
  }

  newest(userId: string): KeyBackup | undefined {
    return [...(this.#byUser.get(userId)?.backups.values() ?? [])].at(-1);
  }

  delete(userId: string, version: string): boolean {
    return this.#byUser.get(userId)?.backups.delete(version) ?? false;
  }
}

function isBetter(key: JsonObject, old: JsonObject): boolean {
  if (key['is_verified'] !== old['is_verified']) return key['is_verified'] === true;
  const [first, oldFirst] = [Number(key['first_message_index']), Number(old['first_message_index'])];
  if (first !== oldFirst) return first < oldFirst;
  return Number(key['forwarded_count']) < Number(old['forwarded_count']);
}
