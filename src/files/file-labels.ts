import * as v from 'valibot';
import { name } from '../core/call-options.js';

/** An HTTP token: the type, the subtype, and parameter names of a media type. */
const TOKEN = String.raw`[\w!#$%&'*+.^\`|~-]+`;
const MIME_TYPE = new RegExp(String.raw`^${TOKEN}/${TOKEN}(?: *; *${TOKEN}=(?:${TOKEN}|"[ !#-\[\]-~]*"))*$`);
const MAX_MIME_TYPE_LENGTH = 255;

/** A file name in any script, without line breaks and other control characters. */
export const fileName = v.pipe(name, v.regex(/^\P{Cc}*$/u, 'a file name without control characters'));

/**
 * A media type that is valid in an HTTP header.
 * @see https://www.rfc-editor.org/rfc/rfc9110#name-media-type
 */
export const mimeType = v.pipe(
  name,
  v.maxLength(MAX_MIME_TYPE_LENGTH, 'a media type such as image/png'),
  v.regex(MIME_TYPE, 'a media type such as image/png'),
);
