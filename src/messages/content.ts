import { MatrixClientManagerError } from '../core/errors.js';
import { describe } from '../core/ids.js';
import { isObject } from '../core/raw-event.js';
import type { EventContent } from '../core/raw-event.js';

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

/** The content to send. Throws `INVALID_OPTIONS` for what no homeserver accepts. */
export function toContent({ text, html, content }: MessageBody): EventContent {
  if ((text === undefined) === (content === undefined)) {
    throw invalid('expected either `text` or `content`, got ' + (text === undefined ? 'neither' : 'both'));
  }
  if (html !== undefined && text === undefined) throw invalid('expected `html` to come with `text`, its plain form');
  const built = content ?? textContent(text, html);
  if (!isObject(built)) throw invalid(`expected \`content\` to be an object, got ${describe(built)}`);
  checkValue(built, 'content', new Set());
  const bytes = Buffer.byteLength(JSON.stringify(built));
  if (bytes > MAX_CONTENT_BYTES) {
    throw invalid(
      `expected a content of at most ${MAX_CONTENT_BYTES} bytes, got ${bytes}; upload large things as media`,
    );
  }
  return built;
}

function textContent(text: unknown, html: unknown): EventContent {
  if (typeof text !== 'string') throw invalid(`expected \`text\` to be a string, got ${describe(text)}`);
  if (html === undefined) return { msgtype: 'm.text', body: text };
  if (typeof html !== 'string') throw invalid(`expected \`html\` to be a string, got ${describe(html)}`);
  return { msgtype: 'm.text', body: text, format: 'org.matrix.custom.html', formatted_body: html };
}

/**
 * Event contents are canonical JSON: no fractions, no numbers beyond 2^53, nothing that JSON cannot say.
 * @see https://spec.matrix.org/v1.16/appendices/#canonical-json
 */
function checkValue(value: unknown, at: string, above: Set<object>): void {
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return;
  if (value === undefined) return; // JSON leaves it out
  if (typeof value === 'number') {
    if (Number.isSafeInteger(value)) return;
    throw invalid(`expected whole numbers below 2^53 in an event, got another at \`${at}\` (send it as a string)`);
  }
  if (typeof value !== 'object') throw invalid(`expected JSON in an event, got a ${typeof value} at \`${at}\``);
  if (above.has(value)) throw invalid(`expected JSON in an event, got a circle at \`${at}\``);
  above.add(value);
  for (const [key, inner] of Object.entries(value)) checkValue(inner, `${at}.${key}`, above);
  above.delete(value);
}

function invalid(message: string): MatrixClientManagerError {
  return new MatrixClientManagerError('INVALID_OPTIONS', message);
}
