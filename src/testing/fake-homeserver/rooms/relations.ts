import type { RoomEvent } from './room-event.js';
import { relationOf } from './room-event.js';

export interface Thread {
  readonly events: readonly RoomEvent[];
  readonly participants: ReadonlySet<string>;
}

/** An index of the relations between a room's events: edits, threads, references and reactions. */
export class Relations {
  readonly #byTarget = new Map<string, Map<string, RoomEvent[]>>();
  readonly #annotations = new Set<string>();

  add(event: RoomEvent): void {
    const relation = relationOf(event.content);
    if (!relation || event.stateKey !== undefined) return;
    const { relType, eventId, key } = relation;
    const byType = this.#byTarget.get(eventId) ?? new Map<string, RoomEvent[]>();
    this.#byTarget.set(eventId, byType);
    const related = byType.get(relType) ?? [];
    byType.set(relType, related);
    related.push(event);
    if (relType === 'm.annotation') this.#annotations.add(annotationKey(event, eventId, key));
  }

  /** Removes the event from the index. Call it before the event's content is pruned. */
  remove(event: RoomEvent): void {
    const relation = relationOf(event.content);
    if (!relation) return;
    const related = this.#byTarget.get(relation.eventId)?.get(relation.relType);
    const index = related?.indexOf(event) ?? -1;
    if (index >= 0) related?.splice(index, 1);
    this.#annotations.delete(annotationKey(event, relation.eventId, relation.key));
  }

  /** Whether `sender` has already annotated the event with `key`. */
  hasAnnotation(eventId: string, type: string, sender: string, key: string | undefined): boolean {
    return this.#annotations.has(annotationKey({ type, sender }, eventId, key));
  }

  /** The newest edit of an event by its own sender. */
  latestEdit(event: RoomEvent): RoomEvent | undefined {
    return this.of(event.eventId, 'm.replace').findLast(
      (edit) => edit.sender === event.sender && edit.type === event.type,
    );
  }

  /** The events of one kind that relate to `eventId`, oldest first. */
  of(eventId: string, relType: string): readonly RoomEvent[] {
    return this.#byTarget.get(eventId)?.get(relType) ?? [];
  }

  /** All events that relate to `eventId`, oldest first. */
  all(eventId: string): RoomEvent[] {
    return [...(this.#byTarget.get(eventId)?.values() ?? [])].flat().toSorted((a, b) => a.stream - b.stream);
  }
}

function annotationKey(event: Pick<RoomEvent, 'type' | 'sender'>, eventId: string, key: string | undefined): string {
  return JSON.stringify([eventId, event.type, event.sender, key]);
}
