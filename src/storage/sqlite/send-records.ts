import type { StoredError } from '../dead-letter.js';
import type { EnqueueResult, OutgoingSend, QueuedSend, SendState } from '../queued-send.js';
import { storageLimits } from '../storage-limits.js';
import type { Records, StoredRecord } from './records.js';

/** The final state of a send. */
export type Settlement =
  | { readonly state: 'sent'; readonly eventId: string }
  | { readonly state: 'failed'; readonly error: StoredError };

const states: readonly SendState[] = ['queued', 'failed', 'sent'];

export function enqueueSend(records: Records, userId: string, send: OutgoingSend): EnqueueResult {
  const existing = find(records, userId, send.txnId, states);
  if (existing) return { added: false, send: toSend(existing) };
  const queued: QueuedSend = { ...send, userId, state: 'queued' };
  records.put(userId, 'queued', send.txnId, JSON.stringify(queued));
  return { added: true, send: queued };
}

export function listSends(records: Records, userId: string | undefined, state: SendState): QueuedSend[] {
  const found = userId === undefined ? records.listOfAllUsers(state) : records.list(userId, state);
  return found.map((record) => toSend(record));
}

export function settleSend(records: Records, userId: string, txnId: string, settlement: Settlement): boolean {
  const existing = find(records, userId, txnId, settlement.state === 'sent' ? ['queued', 'failed'] : ['queued']);
  if (!existing) return false;
  const { roomId, type, enqueuedAt, content } = toSend(existing) as OutgoingSend;
  const base = { txnId, roomId, type, enqueuedAt, userId };
  const settled: QueuedSend =
    settlement.state === 'sent' ? { ...base, ...settlement } : { ...base, content, ...settlement };
  records.delete(userId, existing.kind, txnId);
  records.put(userId, settled.state, txnId, JSON.stringify(settled)); // at the end, so that it is trimmed last
  records.trim(userId, settled.state, storageLimits.settledSends);
  return true;
}

export function deleteSend(records: Records, userId: string, txnId: string): boolean {
  return states.map((state) => records.delete(userId, state, txnId)).includes(true);
}

function find(records: Records, userId: string, txnId: string, among: readonly SendState[]): StoredRecord | undefined {
  for (const state of among) {
    const record = records.get(userId, state, txnId);
    if (record) return record;
  }
  return undefined;
}

function toSend(record: StoredRecord): QueuedSend {
  return JSON.parse(record.value) as QueuedSend;
}
