import * as v from 'valibot';
import { assertStillClear, BecameEncrypted } from '../core/became-encrypted.js';
import { isManagerError, MatrixClientManagerError } from '../core/errors.js';
import type { ManagerLifecycle } from '../core/lifecycle.js';
import { parseMxcUri } from '../core/mxc-uri.js';
import type { EventContent } from '../core/raw-event.js';
import type { SentMessage } from '../core/withheld-keys.js';
import type { HomeserverContext } from '../http/homeserver-context.js';
import { MediaHttp } from '../http/media-http.js';
import type { MediaResponse } from '../http/media-http.js';
import { path } from '../http/path.js';
import { optionalNumber, optionalText } from '../http/response-parts.js';
import type { Session } from '../http/session.js';
import { damagedFile, decryptFile, encryptedFileSchema, encryptFile } from './encrypted-file.js';
import type { EncryptedFile, FileEncryption } from './encrypted-file.js';
import { collect, fileTooLarge, limitSize, sizedBody } from './file-body.js';
import type { SizedBody } from './file-body.js';
import type { DownloadFileOptions, SendFileOptions, UploadFileOptions } from './file-options.js';
import { upload } from './upload.js';
import type { Upload } from './upload.js';

/** A file that was uploaded, and its message. */
export interface SentFile extends SentMessage {
  /** The `mxc://` URI of the file. */
  readonly contentUri: string;
}

/** A file that is being downloaded. Read either `stream` or `buffer()`. */
export interface DownloadedFile {
  /**
   * The bytes of the file. The hash of an encrypted file can be checked only at the end: the stream then fails with
   * `FILE_DAMAGED` if the bytes were altered, so do not use them before the stream has ended.
   */
  readonly stream: ReadableStream<Uint8Array>;
  /** Media type stated by the sender; do not trust it. */
  readonly mimeType: string;
  readonly name: string;
  /** In bytes, as stated by the homeserver, else by the sender; undefined if neither states it. */
  readonly size: number | undefined;
  /** Resolves to the whole file after its hash was checked. */
  buffer(): Promise<Buffer>;
}

/** The message that refers to an uploaded file. */
export interface FileMessage extends Pick<SendFileOptions, 'userId' | 'roomId' | 'txnId' | 'signal'> {
  readonly content: EventContent;
}

export interface AttachmentsOptions<Caller> {
  readonly maxFileBytes: number;
  readonly lifecycle: ManagerLifecycle;
  /** Whether the room is encrypted. Rejects if it is and the user has no encryption. */
  readonly isEncrypted: (caller: Caller, roomId: string, signal: AbortSignal) => Promise<boolean>;
  /** Whether some client has seen the room encrypted. Asks no homeserver. */
  readonly wasSeenEncrypted: (roomId: string) => Promise<boolean>;
  /**
   * Sends the message. Resolves to undefined, and sends nothing, if the room has become encrypted after its file was uploaded
   * unencrypted.
   */
  readonly sendMessage: (message: FileMessage, isEncrypted: boolean) => Promise<SentMessage | undefined>;
}

const configSchema = v.looseObject({ 'm.upload.size': optionalNumber });
const fileContentSchema = v.looseObject({
  body: optionalText,
  filename: optionalText,
  url: optionalText,
  file: v.optional(v.unknown()), // null counts as absent
  info: v.fallback(v.looseObject({ mimetype: optionalText, size: optionalNumber }), {}),
});

const OCTET_STREAM = 'application/octet-stream';
/** Minor version of the specification (v1.11) that has authenticated media, and the flag of homeservers before it. */
const AUTHENTICATED_MEDIA_MINOR = 11;
const AUTHENTICATED_MEDIA_FLAG = 'org.matrix.msc3916.stable';

/** Sends messages with files, and downloads the files of messages; encrypts files for encrypted rooms. */
export class Attachments<Caller extends { readonly session: Session }> {
  readonly #context: HomeserverContext;
  readonly #options: AttachmentsOptions<Caller>;
  readonly #media: MediaHttp;
  #uploadLimit: number | undefined;

  constructor(context: HomeserverContext, options: AttachmentsOptions<Caller>) {
    this.#context = context;
    this.#options = options;
    this.#media = new MediaHttp(context);
  }

  /**
   * Uploads the file as the caller, encrypted if the room is, and sends its message. If the room becomes encrypted during an
   * unencrypted upload, the file is uploaded again.
   */
  async send(caller: Caller, options: SendFileOptions, signal: AbortSignal): Promise<SentFile> {
    const { lifecycle, isEncrypted, sendMessage } = this.#options;
    const { userId, roomId, txnId } = options;
    let body: SizedBody | undefined;
    let wasRead = false;
    for (;;) {
      const encrypted = await isEncrypted(caller, roomId, signal);
      const { size, repeatable, chunks } = (body ??= await this.#sizedBody(caller.session, options, signal));
      if (wasRead && !repeatable) throw becameEncrypted(userId, roomId);
      const readBody = (): AsyncIterable<Uint8Array> => {
        wasRead = true;
        return chunks();
      };
      const file = { size, repeatable, chunks: readBody };
      const uploaded = await this.#upload(caller.session, options, file, encrypted, signal).catch((error: unknown) => {
        if (error instanceof BecameEncrypted) return undefined;
        throw error;
      });
      if (!uploaded) continue;
      const { content, contentUri } = uploaded;
      lifecycle.assertOpen(); // a shutdown may have begun during the upload
      const sent = await sendMessage({ userId, roomId, content, txnId, signal: options.signal }, encrypted);
      if (sent) return { ...sent, contentUri };
    }
  }

  /** Uploads a file that belongs to no message, unencrypted. */
  async upload(
    session: Session,
    file: UploadFileOptions['file'],
    signal: AbortSignal,
  ): Promise<{ contentUri: string }> {
    const { size, repeatable, chunks } = await this.#sizedBody(session, { file }, signal);
    const { mimeType = OCTET_STREAM, name } = file;
    const request = { operation: 'uploading a file', size, repeatable, body: chunks, mimeType, fileName: name };
    return { contentUri: await upload(this.#media, session, request, signal) };
  }

  /** The body of the file to be sent. Throws `FILE_TOO_LARGE`. */
  async #sizedBody(session: Session, { file }: Pick<SendFileOptions, 'file'>, signal: AbortSignal): Promise<SizedBody> {
    const maxBytes = Math.min(this.#options.maxFileBytes, await this.#serverUploadLimit(session, signal));
    return sizedBody(file.body, file.size, maxBytes, this.#context);
  }

  /**
   * Resolves to the content of the file's message. Rejects with {@link BecameEncrypted} before an attempt to upload in the
   * clear, which can be repeated for minutes.
   */
  async #upload(
    session: Session,
    { roomId, file, msgtype }: SendFileOptions,
    { size, repeatable, chunks }: SizedBody,
    encrypted: boolean,
    signal: AbortSignal,
  ): Promise<{ content: EventContent; contentUri: string }> {
    const mimeType = file.mimeType ?? OCTET_STREAM;
    let encryption: FileEncryption | undefined;
    const body = (): AsyncIterable<Uint8Array> => {
      encryption = encrypted ? encryptFile() : undefined; // a repeated upload needs a new key
      return encryption ? encryption.encrypt(chunks()) : chunks();
    };
    const request: Upload = {
      operation: `uploading a file for ${roomId}`,
      roomId,
      size,
      repeatable,
      body,
      ...(encrypted
        ? { mimeType: OCTET_STREAM }
        : {
            mimeType,
            fileName: file.name,
            beforeSend: () => assertStillClear(this.#options.wasSeenEncrypted(roomId)),
          }),
    };
    const contentUri = await upload(this.#media, session, request, signal);
    const content = {
      msgtype: msgtype ?? msgtypeOf(mimeType),
      body: file.name,
      filename: file.name,
      info: { ...file.info, mimetype: mimeType, size },
      ...(encryption ? { file: encryption.description(contentUri) } : { url: contentUri }),
    };
    return { content, contentUri };
  }

  /** Starts the download of the file that a message's content refers to. */
  async download(
    session: Session,
    { roomId, content, thumbnail, maxBytes = this.#options.maxFileBytes }: DownloadFileOptions,
    signal: AbortSignal,
  ): Promise<DownloadedFile> {
    const parsed = v.safeParse(fileContentSchema, thumbnail ? thumbnailAsFile(content) : content);
    if (!parsed.success) throw damagedFile('the content of the message does not describe a file');
    const { body: caption, filename, url, file, info } = parsed.output;
    const encryptedFile = file === undefined || file === null ? undefined : readEncryptedFile(file);
    const uri = parseMxcUri(encryptedFile?.url ?? url ?? '');
    if (!uri) throw damagedFile('the content of the message has no valid mxc:// URI');
    const { server, mediaId } = uri;
    const response = await this.#media.request({
      operation: `downloading a file${roomId === undefined ? '' : ` of ${roomId}`}`,
      userId: session.userId,
      roomId,
      method: 'GET',
      path: (await this.#mediaPathPrefix(signal)) + path`/download/${server}/${mediaId}`,
      session,
      signal,
    });
    const { headers } = response;
    // The Content-Length of a compressed response is not the size of the file.
    const length = headers.has('content-encoding') ? null : headers.get('content-length');
    const statedSize = Number(length ?? Number.NaN);
    if (statedSize > maxBytes) {
      response.cancel();
      throw fileTooLarge(statedSize, maxBytes);
    }
    const bytes = limitSize(response.body, maxBytes);
    const fileBytes = encryptedFile ? decryptFile(bytes, encryptedFile) : bytes;
    return {
      stream: cancellableStream(fileBytes, response),
      mimeType: (encryptedFile ? info.mimetype : headers.get('content-type')) ?? info.mimetype ?? OCTET_STREAM,
      name: filename ?? caption ?? mediaId,
      size: Number.isNaN(statedSize) ? info.size : statedSize,
      buffer: () => collect(fileBytes, maxBytes),
    };
  }

  async #mediaPathPrefix(signal: AbortSignal): Promise<string> {
    const { versions, unstable_features: flags } = await this.#context.versions.get(signal);
    const isAuthenticated =
      flags?.[AUTHENTICATED_MEDIA_FLAG] === true ||
      versions.some((version) => Number(/^v1\.(\d+)$/.exec(version)?.[1] ?? 0) >= AUTHENTICATED_MEDIA_MINOR);
    return isAuthenticated ? '/_matrix/client/v1/media' : '/_matrix/media/v3';
  }

  /** Largest file that the homeserver accepts, in bytes. Cached after the first successful request. */
  async #serverUploadLimit(session: Session, signal: AbortSignal): Promise<number> {
    if (this.#uploadLimit !== undefined) return this.#uploadLimit;
    try {
      const config = await this.#context.http.request(configSchema, {
        operation: 'asking for the upload limit',
        userId: session.userId,
        method: 'GET',
        path: `${await this.#mediaPathPrefix(signal)}/config`,
        session,
        signal,
      });
      return (this.#uploadLimit = config['m.upload.size'] ?? Infinity);
    } catch (error) {
      // Without a known limit the upload is tried; the homeserver refuses a file that is too large.
      if (isManagerError(error, 'NOT_FOUND', 'UNSUPPORTED', 'INVALID_RESPONSE')) return Infinity;
      throw error;
    }
  }
}

/** A stream whose `cancel()` ends the request, even before the first read. */
function cancellableStream(bytes: AsyncGenerator<Uint8Array>, { cancel }: MediaResponse): ReadableStream<Uint8Array> {
  return new ReadableStream(
    {
      pull: async (controller) => {
        const next = await bytes.next();
        if (next.done) controller.close();
        else controller.enqueue(next.value);
      },
      cancel,
    },
    { highWaterMark: 0 },
  );
}

/** The content as if the thumbnail were the file. */
function thumbnailAsFile({ body, filename, info }: EventContent): EventContent {
  const { thumbnail_url: url, thumbnail_file: file, thumbnail_info: thumbnailInfo } = (info ?? {}) as EventContent;
  return { body, filename, url, file, info: thumbnailInfo };
}

function becameEncrypted(userId: string, roomId: string): MatrixClientManagerError {
  const message =
    `sending a file to ${roomId} failed: the room became encrypted during the upload, and the stream of the file cannot ` +
    'be read again. Send the file again, with a new stream';
  return new MatrixClientManagerError('ENCRYPTION_FAILED', message, { userId, roomId });
}

function readEncryptedFile(file: unknown): EncryptedFile {
  const parsed = v.safeParse(encryptedFileSchema, file);
  if (parsed.success) return parsed.output;
  throw damagedFile('its `file` is not a valid description of an encrypted file, version 2');
}

function msgtypeOf(mimeType: string): string {
  const [kind = ''] = mimeType.split('/');
  return ['image', 'video', 'audio'].includes(kind) ? `m.${kind}` : 'm.file';
}
