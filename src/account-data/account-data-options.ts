import * as v from 'valibot';
import type { CallOptions } from '../core/call-options.js';
import type { EventContent } from '../core/raw-event.js';
import { toSendableJson } from '../core/sendable-json.js';
import { checkedAs, name, object, optionsOf, roomId, shown, signal, userId } from '../core/validation.js';

/** The longest content that is sent, in bytes of JSON; Synapse refuses larger ones. */
const MAX_CONTENT_BYTES = 65_536;

export interface GetAccountDataOptions extends CallOptions {
  readonly userId: string;
  /** The type of the account data, such as `m.direct` or one of your own: `org.example.settings`. */
  readonly type: string;
  /** The room whose account data is read. @default none: the user's account data that belongs to no room */
  readonly roomId?: string | undefined;
}

export const getAccountDataSchema = optionsOf<GetAccountDataOptions>({
  userId,
  type: name,
  roomId: v.optional(roomId),
  signal: v.optional(signal),
});

export interface SetAccountDataOptions extends GetAccountDataOptions {
  /** Replaces the whole content. */
  readonly content: EventContent;
}

export const setAccountDataSchema = optionsOf<SetAccountDataOptions>({
  userId,
  type: name,
  roomId: v.optional(roomId),
  content: v.pipe(
    object<EventContent>(),
    v.transform((content) => toSendableJson(content, 'content', MAX_CONTENT_BYTES, 'a request')),
  ),
  signal: v.optional(signal),
});

export interface GetTagsOptions extends CallOptions {
  readonly userId: string;
  readonly roomId: string;
}

export const getTagsSchema = optionsOf<GetTagsOptions>({ userId, roomId, signal: v.optional(signal) });

export interface RemoveTagOptions extends GetTagsOptions {
  /** `m.favourite`, `m.lowpriority`, or one of the user's own: `u.work`. */
  readonly tag: string;
}

export const removeTagSchema = optionsOf<RemoveTagOptions>({ userId, roomId, tag: name, signal: v.optional(signal) });

export interface SetTagOptions extends RemoveTagOptions {
  /** Position among the rooms with this tag, from 0 to 1. @default none */
  readonly order?: number | undefined;
}

const order = checkedAs<number>(
  'a number from 0 to 1',
  (value) => typeof value === 'number' && value >= 0 && value <= 1,
  shown,
);

export const setTagSchema = optionsOf<SetTagOptions>({
  userId,
  roomId,
  tag: name,
  order: v.optional(order),
  signal: v.optional(signal),
});
