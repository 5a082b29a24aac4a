import { checkedAs, isName, shown } from '../core/validation.js';

/** An HTTP token: the type, the subtype, and parameter names of a media type. */
const TOKEN = String.raw`[\w!#$%&'*+.^\`|~-]+`;
const MIME_TYPE = new RegExp(String.raw`^${TOKEN}/${TOKEN}(?: *; *${TOKEN}=(?:${TOKEN}|"[ !#-\[\]-~]*"))*$`);
const MAX_MIME_TYPE_LENGTH = 255;

/** A file name in any script, without line breaks and other control characters. */
export const fileName = checkedAs<string>(
  'a file name without control characters',
  (value) => isName(value) && /^\P{Cc}*$/u.test(value),
  shown,
);

/**
 * A media type that is valid in an HTTP header.
 * @see https://www.rfc-editor.org/rfc/rfc9110#name-media-type
 */
export const mimeType = checkedAs<string>(
  'a media type such as image/png',
  (value) => typeof value === 'string' && value.length <= MAX_MIME_TYPE_LENGTH && MIME_TYPE.test(value),
  shown,
);
