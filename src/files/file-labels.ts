import * as v from 'valibot';
import { name } from '../core/call-options.js';

/** Half of a type: a token of HTTP. */
const TOKEN = String.raw`[\w!#$%&'*+.^\`|~-]+`;
const MIME_TYPE = new RegExp(String.raw`^${TOKEN}/${TOKEN}(?: *; *${TOKEN}=(?:${TOKEN}|"[ !#-\[\]-~]*"))*$`);
const MAX_MIME_TYPE_LENGTH = 255;

/** A file's name, in any script. A line break or another control character in it would be read by no one as meant. */
export const fileName = v.pipe(name, v.regex(/^\P{Cc}*$/u, 'a file name without control characters'));

/**
 * A media type that a header can hold.
 * @see https://www.rfc-editor.org/rfc/rfc9110#name-media-type
 */
export const mimeType = v.pipe(
  name,
  v.maxLength(MAX_MIME_TYPE_LENGTH, 'a media type such as image/png'),
  v.regex(MIME_TYPE, 'a media type such as image/png'),
);
