import type { StoredError, EnqueueResult, OutgoingSend, QueuedSend, SendState } from './storage.js';
import { storageLimits } from './storage.js';
import type { Records } from './records.js';

/** The final state of a send. */
export type Settlement =
  | { readonly state: 'sent'; readonly eventId: string }
  | { readonly state: 'failed'; readonly error: StoredError };

export const sendStates: readonly SendState[] = ['queued', 'failed', 'sent'];

export function enqueueSend(records: Records, userId: string, send: OutgoingSend): EnqueueResult {
  const existing = find(records, userId, send.txnId, sendStates);
  if (existing) return { added: false, send: existing };
  const queued: QueuedSend = { ...send, userId, state: 'queued' };
  records.put(userId, 'queued', send.txnId, JSON.stringify(queued));
  return { added: true, send: queued };
}

export function settleSend(records: Records, userId: string, txnId: string, settlement: Settlement): boolean {
  const existing = find(records, userId, txnId, settlement.state === 'sent' ? ['queued', 'failed'] : ['queued']);
  if (!existing) return false;
  const { roomId, type, enqueuedAt, content } = existing as OutgoingSend;
  const base = { txnId, roomId, type, enqueuedAt, userId };
  const settled: QueuedSend =
    settlement.state === 'sent' ? { ...base, ...settlement } : { ...base, content, ...settlement };
  records.delete(userId, existing.state, txnId);
  records.put(userId, settled.state, txnId, JSON.stringify(settled)); // at the end, so that it is trimmed last
  records.trim(userId, settled.state, storageLimits.settledSends);
  return true;
}

function find(records: Records, userId: string, txnId: string, among: readonly SendState[]): QueuedSend | undefined {
  for (const state of among) {
    const value = records.get(userId, state, txnId);
    if (value !== undefined) return JSON.parse(value) as QueuedSend;
  }
  return undefined;
}
