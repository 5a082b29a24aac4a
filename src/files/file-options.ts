import * as v from 'valibot';
import { flag, name, object, optionsOf, roomId, signal, userId, wholeNumber } from '../core/validation.js';
import { toContentPart } from '../core/content-part.js';
import type { EventContent } from '../core/raw-event.js';
import type { OutgoingFile } from './attachments.js';
import { fileBody } from './file-body.js';
import { fileName, mimeType } from './file-labels.js';

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

export const sendFileSchema = optionsOf<SendFileOptions>({
  userId,
  roomId,
  file: optionsOf<OutgoingFile>({
    body: fileBody,
    name: fileName,
    mimeType: v.optional(mimeType),
    size: v.optional(wholeNumber(0)),
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
