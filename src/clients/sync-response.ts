import type { ISyncResponse } from 'matrix-js-sdk';
import type { EventBatch, InviteBatch, RoomBatch } from '../core/event-source.js';
import { isObject, isRawEvent } from '../core/raw-event.js';
import type { EventContent, RawEvent } from '../core/raw-event.js';

/** A sync response that is not what the specification promises. */
export class MalformedSync extends Error {
  override readonly name = 'MalformedSync';
}

export interface ReadSync {
  /** What delivery gets. Contents are copied one level deep: the SDK prunes redacted events in place. */
  readonly batch: EventBatch;
  /** What the SDK gets: the response without what would make it throw half-way through a room. */
  readonly response: ISyncResponse;
  /** Rooms whose state the response tells more about. */
  readonly stateChanged: ReadonlySet<string>;
  /** How many events were left out because they are no events. */
  readonly malformedEvents: number;
}

export interface ReadOptions {
  /** The position that was asked from. */
  readonly since: string | undefined;
  /** Whether the position is from before the client was started. */
  readonly catchUp: boolean;
  /** The timeline limit that was asked for: a timeline that is full may be cut, whatever `limited` says. */
  readonly timelineLimit: number;
}

/**
 * Reads a `/sync` response of an unknown homeserver.
 * @see https://spec.matrix.org/v1.16/client-server-api/#get_matrixclientv3sync
 */
export function readSyncResponse(data: unknown, { since, catchUp, timelineLimit }: ReadOptions): ReadSync {
  if (!isObject(data)) throw new MalformedSync('the body is no object');
  const { next_batch: nextBatch } = data;
  if (typeof nextBatch !== 'string' || nextBatch === '') throw new MalformedSync('next_batch is no string');
  const sections = section(data, 'rooms');
  const reader = new RoomReader(timelineLimit, since === undefined);
  const rooms = [
    ...Object.entries(section(sections, 'join')).map(([roomId, room]) => reader.room(roomId, 'join', room)),
    ...Object.entries(section(sections, 'leave')).map(([roomId, room]) => reader.room(roomId, 'leave', room)),
  ];
  const invites = Object.entries(section(sections, 'invite')).map(([roomId, room]) => reader.invite(roomId, room));
  return {
    batch: { since, nextBatch, rooms, invites, catchUp },
    response: data as unknown as ISyncResponse, // its rooms have just been checked
    stateChanged: reader.stateChanged,
    malformedEvents: reader.malformed,
  };
}

class RoomReader {
  malformed = 0;
  readonly stateChanged = new Set<string>();
  readonly #texts = new Map<string, string>();
  readonly #timelineLimit: number;
  readonly #initial: boolean;

  constructor(timelineLimit: number, initial: boolean) {
    this.#timelineLimit = timelineLimit;
    this.#initial = initial;
  }

  room(roomId: string, membership: 'join' | 'leave', room: unknown): RoomBatch {
    if (!isObject(room)) throw new MalformedSync('a room is no object');
    const timeline = section(room, 'timeline');
    const { prev_batch: prevBatch } = timeline;
    const events = this.#clean(timeline, isRawEvent);
    const state = ['state', 'org.matrix.msc4222.state_after'].map((name) =>
      this.#clean(section(room, name), isRawEvent),
    );
    const stateful = state.some((part) => part.length > 0) || events.some((event) => event.state_key !== undefined);
    if (stateful) this.stateChanged.add(roomId);
    this.#clean(section(room, 'account_data'), isBareEvent);
    return {
      roomId,
      membership,
      timeline: events.map((event) => this.#snapshot(event)),
      // Synapse has been seen to leave the flag out (synapse#16463).
      limited: (timeline.limited ?? events.length > 0) === true || events.length >= this.#timelineLimit,
      // Of an initial timeline that is whole, Synapse's prev_batch is the position after it.
      prevBatch: typeof prevBatch === 'string' && !(this.#initial && !timeline.limited) ? prevBatch : undefined,
      ephemeral: this.#clean(section(room, 'ephemeral'), isBareEvent),
    };
  }

  invite(roomId: string, room: unknown): InviteBatch {
    if (!isObject(room)) throw new MalformedSync('an invited room is no object');
    return { roomId, state: this.#clean(section(room, 'invite_state'), isStrippedEvent) };
  }

  /** A copy to be kept: without the age, which is not true for long, and with one text for each sender and type. */
  #snapshot({ unsigned, ...event }: RawEvent): RawEvent {
    const [type, sender] = [this.#same(event.type), this.#same(event.sender)];
    const { age: _age, ...told } = unsigned ?? {};
    const content = { ...event.content };
    return Object.keys(told).length > 0
      ? { ...event, type, sender, content, unsigned: told }
      : { ...event, type, sender, content };
  }

  #same(text: string): string {
    const known = this.#texts.get(text) ?? text;
    this.#texts.set(text, known);
    return known;
  }

  /** The section's events that are such, and nothing else left in the section. */
  #clean<T>(from: Readonly<Record<string, unknown>>, isOne: (value: unknown) => value is T): T[] {
    const { events } = from;
    if (events === undefined) return [];
    if (!Array.isArray(events)) throw new MalformedSync('events is no array');
    const good = events.filter(isOne);
    if (good.length < events.length) {
      this.malformed += events.length - good.length;
      (from as { events: unknown }).events = good;
    }
    return good;
  }
}

function section(of: Readonly<Record<string, unknown>>, name: string): Readonly<Record<string, unknown>> {
  const value = of[name];
  if (value === undefined || value === null) return {};
  if (!isObject(value)) throw new MalformedSync(`${name} is no object`);
  return value;
}

function isBareEvent(value: unknown): value is { type: string; content: EventContent } {
  return isObject(value) && typeof value.type === 'string' && isObject(value.content);
}

function isStrippedEvent(value: unknown): value is InviteBatch['state'][number] {
  return (
    isObject(value) &&
    isBareEvent(value) &&
    'sender' in value &&
    typeof value.sender === 'string' &&
    'state_key' in value &&
    typeof value.state_key === 'string'
  );
}
