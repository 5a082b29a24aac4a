import type { Json } from './raw-http.js';

/** An event as clients receive it. Events of a sync have no `room_id`. */
export interface RawEvent {
  readonly type: string;
  readonly event_id: string;
  readonly sender: string;
  readonly origin_server_ts: number;
  readonly content: Json;
  readonly state_key?: string;
  readonly room_id?: string;
  readonly redacts?: string;
  readonly unsigned?: Json;
}

export interface EphemeralEvent {
  readonly type: string;
  readonly content: Json;
}

export interface JoinedRoom {
  readonly timeline: {
    readonly events: readonly RawEvent[];
    readonly limited?: boolean;
    readonly prev_batch?: string;
  };
  readonly state?: { readonly events: readonly RawEvent[] };
  readonly 'org.matrix.msc4222.state_after'?: { readonly events: readonly RawEvent[] };
  readonly ephemeral?: { readonly events: readonly EphemeralEvent[] };
  readonly account_data?: { readonly events: readonly EphemeralEvent[] };
  readonly unread_notifications?: Json;
}

export interface SyncResponse {
  readonly next_batch: string;
  readonly account_data?: { readonly events: readonly EphemeralEvent[] };
  readonly rooms?: {
    readonly join?: Readonly<Record<string, JoinedRoom>>;
    readonly invite?: Readonly<Record<string, { readonly invite_state: { readonly events: readonly RawEvent[] } }>>;
    readonly leave?: Readonly<Record<string, JoinedRoom>>;
  };
}

export interface MessagesResponse {
  readonly start: string;
  readonly end?: string;
  readonly chunk: readonly RawEvent[];
  readonly state?: readonly RawEvent[];
}
