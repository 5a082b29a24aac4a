import type { About, User } from '../harness/homeserver.ts';
import { bare } from './bare-sdk.ts';
import { ours } from './ours.ts';
import { raw } from './raw-loop.ts';
import type { RoomCalls } from './room-calls.ts';

/** Who does the work. */
export type ContenderName =
  | 'ours'
  | 'ours-undici'
  | 'ours-sqlite'
  | 'ours-plain'
  | 'ours-rest'
  | 'ours-encrypted'
  | 'ours-untouched'
  | 'bare'
  | 'bare-encrypted'
  | 'bare-sliding'
  | 'raw';

/** Whoever does the work, as the benchmark sees them. */
export interface Contender extends Partial<RoomCalls> {
  /** Resolves when the user's first sync is through. */
  readonly start: (user: User) => Promise<unknown>;
  /** Ends the user's client, to be started again later. */
  readonly sleep?: (userId: string) => Promise<unknown>;
  /** The newest 50 messages of a room; resolves to how many there were. */
  readonly readPage?: (user: User, roomId: string) => Promise<number>;
  /** Resolves when the homeserver has the message. */
  readonly send?: (user: User, roomId: string, text: string) => Promise<unknown>;
  /** An account and a session on it. */
  readonly provision?: (username: string) => Promise<unknown>;
}

/** @param onMessage - to be called with the text of each message of somebody else's that arrives live */
export type MakeContender = (about: About, onMessage: (text: unknown) => void) => Contender;

/** Loads what the contender is made of; that is not part of what is measured. */
export function loadContender(name: ContenderName): Promise<MakeContender> {
  if (name === 'raw') return Promise.resolve(raw);
  if (!name.startsWith('bare')) return ours(name);
  return bare({ sliding: name === 'bare-sliding', encrypted: name === 'bare-encrypted' });
}
