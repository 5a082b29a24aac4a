import type { JsonObject } from '../json.js';
import { objectOrEmpty } from '../json.js';

/** One version of a user's key backup: its algorithm, and the encrypted keys by room and session. */
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

  /** Keeps the better one of two keys for the same session. */
  put(keys: readonly (readonly [roomId: string, sessionId: string, key: JsonObject])[]): void {
    let changed = false;
    for (const [roomId, sessionId, key] of keys) {
      const sessions = this.rooms.get(roomId) ?? new Map<string, JsonObject>();
      const old = sessions.get(sessionId);
      if (old && !isBetter(key, old)) continue;
      this.rooms.set(roomId, sessions.set(sessionId, key));
      changed = true;
    }
    if (changed) this.etag++;
  }

  delete(roomId?: string, sessionId?: string): void {
    if (roomId === undefined) this.rooms.clear();
    else if (sessionId === undefined) this.rooms.delete(roomId);
    else this.rooms.get(roomId)?.delete(sessionId);
    if (roomId !== undefined && this.rooms.get(roomId)?.size === 0) this.rooms.delete(roomId);
    this.etag++;
  }

  sessionsOf(roomId: string): JsonObject {
    return { sessions: Object.fromEntries(this.rooms.get(roomId) ?? []) };
  }
}

/** The key backups of all users. Only the newest version of a user accepts keys. */
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

  /** @returns whether the version exists or was deleted */
  delete(userId: string, version: string): boolean {
    const own = this.#byUser.get(userId);
    own?.backups.delete(version);
    return Number(version) <= (own?.last ?? 0);
  }
}

/** Whether `key` is better by any one criterion, as in Synapse. The specification compares them in order. */
function isBetter(key: JsonObject, old: JsonObject): boolean {
  return (
    (key['is_verified'] === true && old['is_verified'] !== true) ||
    Number(key['first_message_index']) < Number(old['first_message_index']) ||
    Number(key['forwarded_count']) < Number(old['forwarded_count'])
  );
}
