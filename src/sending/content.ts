import { invalidOptions } from '../core/errors.js';
import { toContentPart } from '../core/content-part.js';
import { describe, isEventId } from '../core/ids.js';
import type { MessageContent } from '../core/message-content.js';
import type { EventContent } from '../core/raw-event.js';
import { isEncryptedType } from '../core/unencrypted-types.js';
import { hasRelations, withRelations } from './message-relations.js';
import type { MessageRelations } from './message-relations.js';

/** The message to send: either `text` or `content`. */
export interface MessageBody {
  /** Plain text. */
  readonly text?: string | undefined;
  /** `text` as HTML; both are sent. @see https://spec.matrix.org/v1.16/client-server-api/#mroommessage-msgtypes */
  readonly html?: string | undefined;
  /** Any event content, instead of `text`. `MessageContent` has the types of those that the specification defines. */
  readonly content?: MessageContent | EventContent | undefined;
}

/**
 * The event content to send, copied from the caller's. Throws `INVALID_OPTIONS` for a content that no homeserver
 * accepts. The types of `text` and `html` are checked by the schema of sendMessage().
 * @param type - the type of the event
 */
export function toContent(
  { text, html, content, ...relations }: MessageBody & MessageRelations,
  type = 'm.room.message',
): EventContent {
  if ((text === undefined) === (content === undefined)) {
    throw invalidOptions('expected either `text` or `content`, got ' + (text === undefined ? 'neither' : 'both'));
  }
  if (text !== undefined && !isEncryptedType(type)) {
    throw invalidOptions(`expected \`content\` with the type ${type}, which is never encrypted, got \`text\``);
  }
  if (html !== undefined && text === undefined) throw invalidOptions('expected `text`, the plain form, beside `html`');
  const message = toContentPart(content === undefined ? textContent(text, html) : content, 'content');
  const built = hasRelations(relations) ? toContentPart(withRelations(message, relations), 'content') : message;
  if (type === 'm.room.redaction') checkRedaction(built);
  return built;
}

function textContent(text: string | undefined, html: string | undefined): EventContent {
  const plain = { msgtype: 'm.text', body: text };
  return html === undefined ? plain : { ...plain, format: 'org.matrix.custom.html', formatted_body: html };
}

/** Checked here because Synapse answers a redaction without an event id with status 500. */
function checkRedaction({ redacts }: EventContent): void {
  if (typeof redacts === 'string' && isEventId(redacts)) return;
  throw invalidOptions(
    `expected \`content.redacts\` of an m.room.redaction to be the id of the event to redact, got ${describe(redacts)}`,
  );
}
