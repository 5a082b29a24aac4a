import { isUserId } from './ids.js';
import { isObject, needsDecryption } from './raw-event.js';
import type { EventContent, RawEvent } from './raw-event.js';
import { withoutHtmlReplyFallback, withoutReplyFallback } from './reply-fallback.js';

/** The users whom a message mentions. */
export interface MessageMentions {
  /** Full user ids, each once. */
  readonly userIds: readonly string[];
  /** Whether all members of the room are mentioned. */
  readonly room: boolean;
}

/**
 * What a message says. A field is absent if the content does not have it, or has it with a wrong type; and all are absent
 * if the message was redacted or could not be decrypted, except those of relations, which are sent unencrypted.
 */
export interface MessageFields {
  /** The plain text (`body`), without the quotation of the event that it replies to. Of an edit: the text after it. */
  readonly text?: string;
  /** `text` as HTML, as the sender wrote it: sanitize it before you show it. */
  readonly html?: string;
  /** What kind of message it is, such as `m.text` or `m.image`. */
  readonly msgtype?: string;
  /** Id of the event that it replies to. */
  readonly replyTo?: string;
  /** Id of the first event of the thread that it belongs to. */
  readonly threadId?: string;
  /**
   * The message is an edit: id of the event that it replaces. `text` and the other fields are those after the edit;
   * `content` is as it was sent. Anybody in the room can send this: ignore it unless `sender` has sent the edited event.
   */
  readonly edits?: string;
  /** Whom it mentions. Absent if the sender did not say. */
  readonly mentions?: MessageMentions;
}

/** Reads the content of a message, in which anything may be of a wrong type. */
export function readMessageFields(event: RawEvent): MessageFields {
  const edits = editTarget(event);
  if (edits !== undefined) {
    const { 'm.new_content': newContent } = event.content;
    return { edits, ...(isObject(newContent) && readText(newContent, false)) };
  }
  const { replyTo, threadId, hasFallback } = readRelation(event.content);
  return {
    ...readText(event.content, hasFallback),
    ...(replyTo !== undefined && { replyTo }),
    ...(threadId !== undefined && { threadId }),
  };
}

/**
 * The id of the event that this edit replaces; undefined if `event` is not an edit. An edit without a new content is none,
 * unless it cannot be read.
 * @see https://spec.matrix.org/v1.16/client-server-api/#event-replacements
 */
export function editTarget(event: RawEvent): string | undefined {
  const { 'm.relates_to': relation, 'm.new_content': newContent } = event.content;
  if (!isObject(relation) || relation.rel_type !== 'm.replace') return undefined;
  if (!isObject(newContent) && !needsDecryption(event)) return undefined;
  return idIn(relation);
}

/**
 * Reads what a content says, without its relations.
 * @param hasFallback - whether the text may begin with the quotation that older clients add to replies
 */
export function readText(content: EventContent, hasFallback: boolean): MessageFields {
  const { body, msgtype, format, formatted_body: formatted, 'm.mentions': mentions } = content;
  const html = format === 'org.matrix.custom.html' && typeof formatted === 'string' ? formatted : undefined;
  return {
    ...(typeof body === 'string' && { text: hasFallback ? withoutReplyFallback(body) : body }),
    ...(html !== undefined && { html: hasFallback ? withoutHtmlReplyFallback(html) : html }),
    ...(typeof msgtype === 'string' && { msgtype }),
    ...(isObject(mentions) && { mentions: readMentions(mentions) }),
  };
}

function readMentions({ user_ids: userIds, room }: EventContent): MessageMentions {
  const ids: readonly unknown[] = Array.isArray(userIds) ? userIds : [];
  return { userIds: [...new Set(ids.filter(isUserId))], room: room === true };
}

interface Relation {
  readonly replyTo: string | undefined;
  readonly threadId: string | undefined;
  /** Whether the text may begin with the quotation that older clients add to replies. */
  readonly hasFallback: boolean;
}

/** @see https://spec.matrix.org/v1.16/client-server-api/#threading */
function readRelation({ 'm.relates_to': relation }: EventContent): Relation {
  if (!isObject(relation)) return { replyTo: undefined, threadId: undefined, hasFallback: false };
  const { rel_type: type, is_falling_back: isFallingBack, 'm.in_reply_to': inReplyTo } = relation;
  const repliedTo = isObject(inReplyTo) ? idIn(inReplyTo) : undefined;
  const threadId = type === 'm.thread' ? idIn(relation) : undefined;
  // Clients without threads show a message of a thread as this reply; it is none.
  const isReply = threadId === undefined || isFallingBack !== true;
  return { replyTo: isReply ? repliedTo : undefined, threadId, hasFallback: repliedTo !== undefined };
}

function idIn({ event_id: id }: EventContent): string | undefined {
  return typeof id === 'string' && id !== '' ? id : undefined;
}
