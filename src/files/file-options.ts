import * as v from 'valibot';
import {
  flag,
  name,
  object,
  optionsOf,
  roomId,
  signal,
  userId,
  wholeNumber,
  checkedAs,
  isName,
  shown,
} from '../core/validation.js';
import { toContentPart } from '../core/content-part.js';
import { fileBody } from './file-body.js';
import type { FileBody } from './file-body.js';
import type { EventContent } from '../core/raw-event.js';

/** An HTTP token: the type, the subtype, and parameter names of a media type. */
const TOKEN = String.raw`[\w!#$%&'*+.^\`|~-]+`;
const MIME_TYPE = new RegExp(String.raw`^${TOKEN}/${TOKEN}(?: *; *${TOKEN}=(?:${TOKEN}|"[ !#-\[\]-~]*"))*$`);
const MAX_MIME_TYPE_LENGTH = 255;

/** A file name in any script, without line breaks and other control characters. */
const fileName = checkedAs<string>(
  'a file name without control characters',
  (value) => isName(value) && /^\P{Cc}*$/u.test(value),
  shown,
);

/**
 * A media type that is valid in an HTTP header.
 * @see https://www.rfc-editor.org/rfc/rfc9110#name-media-type
 */
const mimeType = checkedAs<string>(
  'a media type such as image/png',
  (value) => typeof value === 'string' && value.length <= MAX_MIME_TYPE_LENGTH && MIME_TYPE.test(value),
  shown,
);

/** A file to send. */
export interface OutgoingFile {
  /** A stream without `size` is first read into memory, because the upload request states the size. */
  readonly body: FileBody;
  /** File name that other users see, in any script, without control characters. */
  readonly name: string;
  /** Media type, such as `image/png` or `text/plain; charset=utf-8`. @default 'application/octet-stream' */
  readonly mimeType?: string | undefined;
  /** In bytes. A stream with a `size` is uploaded in constant memory. */
  readonly size?: number | undefined;
  /** Further fields of the message's `info`: `w`, `h`, `duration`. @see https://spec.matrix.org/v1.16/client-server-api/#mroommessage-msgtypes */
  readonly info?: EventContent | undefined;
}

export interface SendFileOptions {
  readonly userId: string;
  readonly roomId: string;
  readonly file: OutgoingFile;
  /** The `msgtype` of the message. @default 'm.image', 'm.video' or 'm.audio' by `mimeType`, else 'm.file' */
  readonly msgtype?: string | undefined;
  /** Transaction id. With the same `txnId` the file is uploaded again, but the message is not posted twice. @default a random one */
  readonly txnId?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

const fileSchemas = {
  body: fileBody,
  name: fileName,
  mimeType: v.optional(mimeType),
  size: v.optional(wholeNumber(0)),
} as const;

export const sendFileSchema = optionsOf<SendFileOptions>({
  userId,
  roomId,
  file: optionsOf<OutgoingFile>({
    ...fileSchemas,
    info: v.optional(
      v.pipe(
        object<EventContent>(),
        v.transform((info) => toContentPart(info, 'file.info')),
      ),
    ),
  }),
  msgtype: v.optional(name),
  txnId: v.optional(name),
  signal: v.optional(signal),
});

export interface UploadFileOptions {
  /** The user to upload as. */
  readonly userId: string;
  /** The file: the same fields as for `sendFile()`, without `info`. */
  readonly file: Omit<OutgoingFile, 'info'>;
  readonly signal?: AbortSignal | undefined;
}

export const uploadFileSchema = optionsOf<UploadFileOptions>({
  userId,
  file: optionsOf<UploadFileOptions['file']>(fileSchemas),
  signal: v.optional(signal),
});

export interface DownloadFileOptions {
  /** The user to download as. */
  readonly userId: string;
  /** Used in errors only. */
  readonly roomId?: string | undefined;
  /** The content of the file's message. */
  readonly content: EventContent;
  /** Whether to download the thumbnail in `content.info` instead of the file. @default false */
  readonly thumbnail?: boolean | undefined;
  /** A larger file fails with `FILE_TOO_LARGE`. @default the option maxFileBytes */
  readonly maxBytes?: number | undefined;
  /** Aborts the download, also while the stream is read. */
  readonly signal?: AbortSignal | undefined;
}

export const downloadFileSchema = optionsOf<DownloadFileOptions>({
  userId,
  roomId: v.optional(roomId),
  content: object<EventContent>(),
  thumbnail: v.optional(flag),
  maxBytes: v.optional(wholeNumber(1)),
  signal: v.optional(signal),
});
