import { MatrixClientManagerError } from '../core/errors.js';
import { describe } from '../core/ids.js';
import { isObject } from '../core/raw-event.js';
import type { EventContent } from '../core/raw-event.js';
import { assertWellFormed, toSendableJson } from '../core/sendable-json.js';

/** What a caller wants sent: one of `text` and `content`. */
export interface MessageBody {
  /** Plain text. */
  readonly text?: string | undefined;
  /** The same as HTML, sent beside `text`. @see https://spec.matrix.org/v1.16/client-server-api/#mroommessage-msgtypes */
  readonly html?: string | undefined;
  /** Any event content, instead of `text`: replies, reactions, media. */
  readonly content?: EventContent | undefined;
}

/** Homeservers take events of 65,536 bytes; the rest of the event needs some of them. */
const MAX_CONTENT_BYTES = 60_000;

/** The content to send, a copy of the caller's. Throws `INVALID_OPTIONS` for what no homeserver accepts. */
export function toContent({ text, html, content }: MessageBody): EventContent {
  if ((text === undefined) === (content === undefined)) {
    throw invalid('expected either `text` or `content`, got ' + (text === undefined ? 'neither' : 'both'));
  }
  if (html !== undefined && text === undefined) throw invalid('expected `html` to come with `text`, its plain form');
  const built = toSendableJson(content === undefined ? textContent(text, html) : content, 'content', {
    maxBytes: MAX_CONTENT_BYTES,
  });
  if (!isObject(built)) throw invalid(`expected \`content\` to be an object, got ${describe(built)}`);
  return built;
}

function textContent(text: unknown, html: unknown): EventContent {
  if (typeof text !== 'string') throw invalid(`expected \`text\` to be a string, got ${describe(text)}`);
  assertWellFormed(text, 'text');
  if (html === undefined) return { msgtype: 'm.text', body: text };
  if (typeof html !== 'string') throw invalid(`expected \`html\` to be a string, got ${describe(html)}`);
  assertWellFormed(html, 'html');
  return { msgtype: 'm.text', body: text, format: 'org.matrix.custom.html', formatted_body: html };
}

function invalid(message: string): MatrixClientManagerError {
  return new MatrixClientManagerError('INVALID_OPTIONS', message);
}
