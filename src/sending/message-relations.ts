import * as v from 'valibot';
import { invalidOptions } from '../core/errors.js';
import type { EventContent } from '../core/raw-event.js';
import { eventId, flag, listOf, optionsOf, userId } from '../core/validation.js';

/** The users whom a message mentions; their clients notify them. */
export interface Mentions {
  readonly userIds?: readonly string[] | undefined;
  /** Whether all members of the room are mentioned. @default false */
  readonly room?: boolean | undefined;
}

/** How a message refers to other events, and to users. */
export interface MessageRelations {
  /** The event that the message replies to. */
  readonly replyTo?: string | undefined;
  /** The first event of the thread that the message belongs to. */
  readonly threadId?: string | undefined;
  /** The user's own message that this one replaces. It keeps its place in the room, what it replies to, and its thread. */
  readonly edits?: string | undefined;
  /** In an edit: all users that the new version mentions. The edit does not notify them again. */
  readonly mentions?: Mentions | undefined;
}

export const relationSchemas = {
  replyTo: v.optional(eventId),
  threadId: v.optional(eventId),
  edits: v.optional(eventId),
  mentions: v.optional(optionsOf<Mentions>({ userIds: v.optional(listOf(userId)), room: v.optional(flag) })),
} as const;

export function hasRelations({ replyTo, threadId, edits, mentions }: MessageRelations): boolean {
  return [replyTo, threadId, edits, mentions].some((relation) => relation !== undefined);
}

/**
 * The content with the relations in it. Throws `INVALID_OPTIONS` for an edit that is also a reply or in a thread, and for
 * a content that has relations or mentions of its own.
 * @see https://spec.matrix.org/v1.16/client-server-api/#forming-relationships-between-events
 */
export function withRelations(content: EventContent, relations: MessageRelations): EventContent {
  const { replyTo, threadId, edits, mentions } = relations;
  const isRelated = replyTo !== undefined || threadId !== undefined || edits !== undefined;
  if (isRelated && content['m.relates_to'] !== undefined) {
    throw invalidOptions(
      'expected either `replyTo`, `threadId` or `edits`, or a `content` with `m.relates_to`, got both',
    );
  }
  if (mentions && content['m.mentions'] !== undefined) {
    throw invalidOptions('expected either `mentions` or a `content` with `m.mentions`, got both');
  }
  const mentioning = mentions ? { ...content, 'm.mentions': mentionsContent(mentions) } : content;
  if (edits === undefined) {
    const relation = threadId === undefined ? replyRelation(replyTo) : threadRelation(threadId, replyTo);
    return relation ? { ...mentioning, 'm.relates_to': relation } : mentioning;
  }
  if (replyTo !== undefined || threadId !== undefined) {
    throw invalidOptions(
      'expected `edits` without `replyTo` and `threadId`: an edit keeps those of the edited message',
    );
  }
  return {
    ...editFallback(mentioning),
    // Those mentioned here are notified; the users of the edited message have been.
    ...(mentioning['m.mentions'] !== undefined && { 'm.mentions': {} }),
    'm.new_content': mentioning,
    'm.relates_to': { rel_type: 'm.replace', event_id: edits },
  };
}

function replyRelation(replyTo: string | undefined): EventContent | undefined {
  return replyTo === undefined ? undefined : { 'm.in_reply_to': { event_id: replyTo } };
}

/** Without `replyTo`, clients that know no threads show the message as a reply to the first one of the thread. */
function threadRelation(threadId: string, replyTo: string | undefined): EventContent {
  return {
    rel_type: 'm.thread',
    event_id: threadId,
    is_falling_back: replyTo === undefined,
    'm.in_reply_to': { event_id: replyTo ?? threadId },
  };
}

/** What clients that know no edits show: the new text after an asterisk. */
function editFallback(content: EventContent): EventContent {
  const { body, formatted_body: html } = content;
  return {
    ...content,
    ...(typeof body === 'string' && { body: `* ${body}` }),
    ...(typeof html === 'string' && { formatted_body: `* ${html}` }),
  };
}

function mentionsContent({ userIds = [], room = false }: Mentions): EventContent {
  return { ...(userIds.length > 0 && { user_ids: [...new Set(userIds)] }), ...(room && { room }) };
}
