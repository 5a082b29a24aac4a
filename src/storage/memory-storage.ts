import type { Credentials } from '../core/credentials.js';
import type {
  CheckpointChange,
  DeliveredPosition,
  JournalChange,
  JournalEntry,
  StoredCheckpoint,
} from './checkpoint.js';
import type { StoredDeadLetter, StoredError } from './dead-letter.js';
import type { EnqueueResult, OutgoingSend, QueuedSend, SendState } from './queued-send.js';
import { defaultDeadLetterLimit, storageLimits } from './storage-limits.js';
import type { Storage } from './storage.js';

/** The data of one user. Maps keep insertion order, in which entries are listed and the oldest ones deleted. */
interface UserRecord {
  credentials?: Credentials | undefined;
  since?: string | undefined;
  clientSince?: string | undefined;
  accountData?: string | undefined;
  readonly rooms: Map<string, string>;
  readonly lastDelivered: Map<string, DeliveredPosition>;
  readonly journal: Map<string, JournalEntry>;
  readonly deadLetters: Map<string, StoredDeadLetter>;
  readonly sends: Map<string, SequencedSend>;
}

interface SequencedSend {
  readonly sequence: number;
  readonly send: QueuedSend;
}

/**
 * A storage in memory, which is the default, and useful in tests. Its data is lost when the process ends. Closing it does
 * nothing, so that a second manager with the same storage finds the data of the first one, as after a restart.
 */
export function memoryStorage(): Storage {
  return new MemoryStorage();
}

class MemoryStorage implements Storage {
  readonly #users = new Map<string, UserRecord>();
  #sequence = 0;

  async getCredentials(userId: string): Promise<Credentials | undefined> {
    return structuredClone(this.#find(userId)?.credentials);
  }

  async setCredentials(credentials: Credentials): Promise<void> {
    this.#findOrCreate(credentials.userId).credentials = structuredClone(credentials);
  }

  async deleteCredentials(userId: string): Promise<void> {
    const user = this.#find(userId);
    if (user) user.credentials = undefined;
  }

  async loadCheckpoint(userId: string): Promise<StoredCheckpoint> {
    const user = this.#find(userId);
    return {
      ...(user?.since !== undefined && { since: user.since }),
      ...(user?.clientSince !== undefined && { clientSince: user.clientSince }),
      ...(user?.accountData !== undefined && { accountData: user.accountData }),
      rooms: new Map(user?.rooms),
      lastDelivered: structuredClone(user?.lastDelivered ?? new Map()),
      journal: structuredClone([...(user?.journal.values() ?? [])]),
    };
  }

  async commit(userId: string, change: CheckpointChange): Promise<void> {
    const user = this.#findOrCreate(userId);
    if (change.since !== undefined) user.since = change.since ?? undefined;
    if (change.since !== undefined || change.clientSince !== undefined) user.clientSince = change.clientSince;
    if (change.accountData !== undefined) user.accountData = change.accountData ?? undefined;
    applyToMap(user.rooms, change.rooms, (state) => state);
    applyToMap(user.lastDelivered, change.lastDelivered, (position) => ({ ...position }));
    if (change.journal) applyToJournal(user.journal, change.journal);
  }

  async addDeadLetter(userId: string, letter: StoredDeadLetter): Promise<void> {
    const { deadLetters } = this.#findOrCreate(userId);
    deadLetters.set(letter.id, structuredClone(letter));
    dropOldest(deadLetters, storageLimits.deadLetters);
  }

  async listDeadLetters(userId: string, options: { readonly limit?: number } = {}): Promise<StoredDeadLetter[]> {
    const letters = [...(this.#find(userId)?.deadLetters.values() ?? [])];
    return structuredClone(letters.slice(0, Math.max(0, options.limit ?? defaultDeadLetterLimit)));
  }

  async deleteDeadLetter(userId: string, id: string): Promise<boolean> {
    return this.#find(userId)?.deadLetters.delete(id) ?? false;
  }

  async enqueueSend(userId: string, send: OutgoingSend): Promise<EnqueueResult> {
    const { sends } = this.#findOrCreate(userId);
    const existing = sends.get(send.txnId);
    if (existing) return { added: false, send: structuredClone(existing.send) };
    const queued: QueuedSend = { ...structuredClone(send), userId, state: 'queued' };
    sends.set(send.txnId, { sequence: this.#sequence++, send: queued });
    return { added: true, send: structuredClone(queued) };
  }

  async listSends(filter: { readonly userId?: string; readonly state?: SendState } = {}): Promise<QueuedSend[]> {
    const { userId, state = 'queued' } = filter;
    const user = userId === undefined ? undefined : this.#find(userId);
    const users = userId === undefined ? this.#allUsers() : user ? [user] : [];
    return [...users]
      .flatMap((user) => Array.from(user.sends.values()))
      .filter(({ send }) => send.state === state)
      .toSorted((a, b) => a.sequence - b.sequence)
      .map(({ send }) => structuredClone(send));
  }

  async completeSend(userId: string, txnId: string, eventId: string): Promise<boolean> {
    return this.#settle(userId, txnId, ['queued', 'failed'], ({ roomId, type, enqueuedAt }) => {
      return { txnId, roomId, type, enqueuedAt, userId, state: 'sent', eventId };
    });
  }

  async failSend(userId: string, txnId: string, error: StoredError): Promise<boolean> {
    return this.#settle(userId, txnId, ['queued'], (send) => {
      return { ...(send as OutgoingSend), userId, state: 'failed', error: structuredClone(error) };
    });
  }

  async deleteSend(userId: string, txnId: string): Promise<boolean> {
    return this.#find(userId)?.sends.delete(txnId) ?? false;
  }

  async deleteUser(userId: string): Promise<void> {
    this.#users.delete(userId);
  }

  async close(): Promise<void> {}

  async [Symbol.asyncDispose](): Promise<void> {}

  #settle(userId: string, txnId: string, from: SendState[], to: (send: QueuedSend) => QueuedSend): boolean {
    const sends = this.#find(userId)?.sends;
    const existing = sends?.get(txnId);
    if (!sends || !existing || !from.includes(existing.send.state)) return false;
    const send = to(existing.send);
    sends.delete(txnId);
    sends.set(txnId, { sequence: this.#sequence++, send }); // at the end, so that it is dropped last
    const settled = [...sends].filter(([, other]) => other.send.state === send.state);
    for (const [oldest] of settled.slice(0, -storageLimits.settledSends)) sends.delete(oldest);
    return true;
  }

  #allUsers(): Iterable<UserRecord> {
    return this.#users.values();
  }

  #find(userId: string): UserRecord | undefined {
    return this.#users.get(userId);
  }

  #findOrCreate(userId: string): UserRecord {
    let user = this.#find(userId);
    if (!user) {
      user = {
        rooms: new Map(),
        lastDelivered: new Map(),
        journal: new Map(),
        deadLetters: new Map(),
        sends: new Map(),
      };
      this.#users.set(userId, user);
    }
    return user;
  }
}

function applyToMap<T>(
  map: Map<string, T>,
  changes: ReadonlyMap<string, T | null> | undefined,
  copyOf: (value: T) => T,
): void {
  for (const [key, value] of changes ?? []) {
    if (value === null) map.delete(key);
    else map.set(key, copyOf(value));
  }
}

function applyToJournal(journal: Map<string, JournalEntry>, { prune = [], add = [] }: JournalChange): void {
  if (prune === 'all') journal.clear();
  else for (const entry of prune) journal.delete(journalKey(entry));
  for (const { roomId, eventId } of add) journal.set(journalKey({ roomId, eventId }), { roomId, eventId });
  dropOldest(journal, storageLimits.journalEntries);
}

function journalKey({ roomId, eventId }: JournalEntry): string {
  return JSON.stringify([roomId, eventId]);
}

function dropOldest(map: Map<string, unknown>, limit: number): void {
  for (const key of map.keys()) {
    if (map.size <= limit) return;
    map.delete(key);
  }
}
