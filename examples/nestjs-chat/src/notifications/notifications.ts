import { Injectable } from '@nestjs/common';
import type { ClientEvent } from 'matrix-client-manager';
import { DatabaseSync } from 'node:sqlite';
import { OnTenantEvent } from '../tenants/on-tenant-event.js';

export interface Notification {
  readonly roomId: string;
  readonly eventId: string;
  readonly text: string;
}

/** Notes for each user what others have written, also while the service was down. */
@Injectable()
export class Notifications {
  constructor(private readonly database: DatabaseSync) {}

  /** After a crash an event may come again: the row is unique. If this throws, the event comes again, too. */
  @OnTenantEvent({ types: ['message'] })
  onMessage(event: ClientEvent): void {
    if (event.type !== 'message' || event.edits !== undefined || event.sender === event.userId) return;
    const { userId, roomId, eventId, text = '' } = event;
    this.database
      .prepare(
        'INSERT INTO notifications (matrix_user_id, room_id, event_id, text) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING',
      )
      .run(userId, roomId, eventId, text);
  }

  /** A user's notifications, oldest first. */
  list(userId: string): Notification[] {
    return this.database
      .prepare('SELECT room_id, event_id, text FROM notifications WHERE matrix_user_id = ? ORDER BY id')
      .all(userId)
      .map((row) => ({ roomId: String(row['room_id']), eventId: String(row['event_id']), text: String(row['text']) }));
  }
}
