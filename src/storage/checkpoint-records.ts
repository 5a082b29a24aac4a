import type { CheckpointChange, DeliveredPosition, JournalEntry, StoredCheckpoint } from './checkpoint.js';
import { storageLimits } from './storage.js';
import type { RecordKind, Records } from './records.js';

/**
 * Returns a function that writes the change inside a transaction. The change is read immediately, so that the caller may
 * reuse its maps.
 */
export function checkpointWrites(userId: string, change: CheckpointChange): (records: Records) => void {
  const writes: { kind: RecordKind; key: string; value: string | null }[] = [];
  const { since, clientSince, accountData, rooms, lastDelivered, journal } = change;
  if (since !== undefined) writes.push({ kind: 'since', key: '', value: since });
  if (since !== undefined || clientSince !== undefined) {
    writes.push({ kind: 'clientSince', key: '', value: clientSince ?? null });
  }
  if (accountData !== undefined) writes.push({ kind: 'accountData', key: '', value: accountData });
  for (const [key, value] of rooms ?? []) writes.push({ kind: 'room', key, value });
  for (const [key, position] of lastDelivered ?? []) {
    writes.push({ kind: 'delivered', key, value: position && JSON.stringify(position) });
  }
  const prune = journal?.prune === 'all' ? 'all' : (journal?.prune ?? []).map((entry) => journalKey(entry));
  const add = (journal?.add ?? []).map((entry) => journalKey(entry));

  return (records) => {
    for (const { kind, key, value } of writes) {
      if (value === null) records.delete(userId, kind, key);
      else records.put(userId, kind, key, value);
    }
    if (prune === 'all') records.deleteKind(userId, 'journal');
    else for (const key of prune) records.delete(userId, 'journal', key);
    for (const key of add) records.add(userId, 'journal', key);
    if (add.length > 0) records.trim(userId, 'journal', storageLimits.journalEntries);
  };
}

export function readCheckpoint(records: Records, userId: string): StoredCheckpoint {
  const rooms = new Map(records.list(userId, 'room').map(({ key, value }) => [key, value]));
  const accountData = records.get(userId, 'accountData');
  const lastDelivered = new Map(
    records.list(userId, 'delivered').map(({ key, value }) => [key, JSON.parse(value) as DeliveredPosition]),
  );
  const journal = records.list(userId, 'journal').map(({ key }) => journalEntry(key));
  // Read last, because finding a damaged room or damaged account data deletes the sync tokens (see coversPosition).
  const since = records.get(userId, 'since');
  const clientSince = records.get(userId, 'clientSince');
  return {
    ...(since !== undefined && { since }),
    ...(clientSince !== undefined && { clientSince }),
    ...(accountData !== undefined && { accountData }),
    rooms,
    lastDelivered,
    journal,
  };
}

/** Whether a sync token is unusable without the records of this kind. True for state that a sync would not send again. */
export function coversPosition(kind: string): boolean {
  return kind === 'room' || kind === 'accountData';
}

function journalKey({ roomId, eventId }: JournalEntry): string {
  return JSON.stringify([roomId, eventId]);
}

function journalEntry(key: string): JournalEntry {
  const [roomId, eventId] = JSON.parse(key) as [string, string];
  return { roomId, eventId };
}
