import * as v from 'valibot';
import { isManagerError } from '../core/errors.js';
import type { EventContent } from '../core/raw-event.js';
import type { HomeserverHttp } from '../http/homeserver-http.js';
import type { MediaResponse, MediaHttp } from '../http/media-http.js';
import { path } from '../http/path.js';
import { invalidResponse } from '../http/response-error.js';
import type { ServerVersions } from '../http/server-versions.js';
import type { Session } from '../http/session.js';
import { damagedFile, decryptFile, encryptedFileSchema, encryptFile } from './encrypted-file.js';
import type { EncryptedFile, FileEncryption } from './encrypted-file.js';
import type { BodyBounds } from './file-body.js';
import { collect, fileTooLarge, limited, sizedBody } from './file-body.js';
import type { FileBody } from './file-body.js';

/** A file to be sent. */
export interface OutgoingFile {
  /** A stream without `size` is read into memory first: homeservers want to know the size before. */
  readonly body: FileBody;
  /** The file's name, as others see it, in any script; without control characters. */
  readonly name: string;
  /** Such as `image/png` or `text/plain; charset=utf-8`. @default 'application/octet-stream' */
  readonly mimeType?: string | undefined;
  /** In bytes; with it a stream flows, in constant memory. */
  readonly size?: number | undefined;
  /** What else others are told: `w`, `h`, `duration`. @see https://spec.matrix.org/v1.16/client-server-api/#mroommessage-msgtypes */
  readonly info?: EventContent | undefined;
}

/** A file as it comes. */
export interface DownloadedFile {
  /**
   * Its bytes. Of an encrypted file they come before its hash is checked: the stream fails with `FILE_DAMAGED` at its
   * end where they were altered, so use nothing of it until it has ended. `buffer()` gives nothing unchecked.
   */
  readonly stream: ReadableStream<Uint8Array>;
  /** What the sender says that it is; not to be trusted. */
  readonly mimeType: string;
  readonly name: string;
  /** In bytes, as the homeserver or the sender says; undefined where neither does. */
  readonly size: number | undefined;
  /** All of it, checked, instead of `stream`. */
  buffer(): Promise<Buffer>;
}

interface UploadOptions {
  readonly encrypted: boolean;
  readonly maxBytes: number;
  readonly msgtype?: string | undefined;
  readonly roomId: string;
  readonly signal: AbortSignal;
}

interface DownloadOptions {
  readonly roomId?: string | undefined;
  /** Whether the file's thumbnail is meant. */
  readonly thumbnail: boolean;
  readonly maxBytes: number;
  readonly signal: AbortSignal;
}

const uploadedSchema = v.object({ content_uri: v.pipe(v.string(), v.startsWith('mxc://')) });
const configSchema = v.looseObject({ 'm.upload.size': v.fallback(v.nullish(v.number()), undefined) });
/** What is no text is taken for missing: senders put anything there. */
const text = v.fallback(v.optional(v.string()), undefined);
const fileContentSchema = v.looseObject({
  body: text,
  filename: text,
  url: text,
  file: v.optional(v.unknown()), // null counts as absent, as in databases
  info: v.fallback(v.looseObject({ mimetype: text, size: v.fallback(v.optional(v.number()), undefined) }), {}),
});

const OCTETS = 'application/octet-stream';
const MAX_ANSWER_BYTES = 65_536;
/** The first version of the specification whose media need a token, and what homeservers said before they had it. */
const AUTHENTICATED_MEDIA = 11;
const AUTHENTICATED_MEDIA_EARLY = 'org.matrix.msc3916.stable';
/** The dots alone would be parts of the path. */
const MXC = /^mxc:\/\/(?!\.{1,2}\/)([\w.:[\]-]+)\/([\w-]+)$/;

/** Uploads and downloads of files, encrypted where the room is. */
export class Attachments {
  readonly #http: HomeserverHttp;
  readonly #media: MediaHttp;
  readonly #versions: ServerVersions;
  readonly #bounds: BodyBounds;
  #uploadLimit: number | undefined;

  /** @param bounds - of the streams that are uploaded */
  constructor(http: HomeserverHttp, media: MediaHttp, versions: ServerVersions, bounds: BodyBounds) {
    this.#bounds = bounds;
    this.#http = http;
    this.#media = media;
    this.#versions = versions;
  }

  /** Uploads the file and gives the content to send. Throws `FILE_TOO_LARGE` before anything is uploaded. */
  async upload(
    session: Session,
    file: OutgoingFile,
    options: UploadOptions,
  ): Promise<{ content: EventContent; contentUri: string }> {
    const { encrypted, roomId, signal } = options;
    const maxBytes = Math.min(options.maxBytes, await this.#limit(session, signal));
    const { size, repeatable, chunks } = await sizedBody(file.body, file.size, maxBytes, this.#bounds);
    const mimeType = file.mimeType ?? OCTETS;
    let encryption: FileEncryption | undefined;
    const body = (): AsyncIterable<Uint8Array> => {
      encryption = encrypted ? encryptFile() : undefined; // a key is used once
      return encryption ? encryption.encrypt(chunks()) : chunks();
    };
    const answer = await this.#media.request({
      operation: `uploading a file for ${roomId}`,
      userId: session.userId,
      roomId,
      method: 'POST',
      path: `/_matrix/media/v3/upload${encrypted ? '' : `?filename=${encodeURIComponent(file.name)}`}`,
      headers: { 'content-type': encrypted ? OCTETS : mimeType, 'content-length': String(size) },
      session,
      body,
      repeatable,
      signal,
    });
    const contentUri = readContentUri((await collect(answer.body, MAX_ANSWER_BYTES)).toString());
    const content = {
      msgtype: options.msgtype ?? msgtypeOf(mimeType),
      body: file.name,
      filename: file.name,
      info: { ...file.info, mimetype: mimeType, size },
      ...(encryption ? { file: encryption.description(contentUri) } : { url: contentUri }),
    };
    return { content, contentUri };
  }

  /** Begins to download what a message's content names. */
  async download(session: Session, content: EventContent, options: DownloadOptions): Promise<DownloadedFile> {
    const parsed = v.safeParse(fileContentSchema, options.thumbnail ? thumbnailOf(content) : content);
    if (!parsed.success) throw damagedFile('the content of the message describes none');
    const { body: caption, filename, url, file, info } = parsed.output;
    const sealed = file === undefined || file === null ? undefined : readDescription(file);
    const [, server, mediaId] = MXC.exec(sealed?.url ?? url ?? '') ?? [];
    if (server === undefined || mediaId === undefined)
      throw damagedFile('the content of the message names no mxc:// address');
    const { maxBytes, roomId, signal } = options;
    const answer = await this.#media.request({
      operation: `downloading a file${roomId === undefined ? '' : ` of ${roomId}`}`,
      userId: session.userId,
      roomId,
      method: 'GET',
      path: (await this.#prefix(signal)) + path`/download/${server}/${mediaId}`,
      session,
      signal,
    });
    const { headers } = answer;
    // Of a compressed answer it is not the size of the file.
    const length = headers.has('content-encoding') ? null : headers.get('content-length');
    const announced = Number(length ?? Number.NaN);
    if (announced > maxBytes) {
      answer.cancel();
      throw fileTooLarge(announced, maxBytes);
    }
    const bytes = limited(answer.body, maxBytes);
    const clear = sealed ? decryptFile(bytes, sealed) : bytes;
    return {
      stream: streamOf(clear, answer),
      mimeType: (sealed ? info.mimetype : headers.get('content-type')) ?? info.mimetype ?? OCTETS,
      name: filename ?? caption ?? mediaId,
      size: Number.isNaN(announced) ? info.size : announced,
      buffer: () => collect(clear, maxBytes),
    };
  }

  async #prefix(signal: AbortSignal): Promise<string> {
    const { versions, unstable_features: early } = await this.#versions.get(signal);
    const authenticated =
      early?.[AUTHENTICATED_MEDIA_EARLY] === true ||
      versions.some((version) => Number(/^v1\.(\d+)$/.exec(version)?.[1] ?? 0) >= AUTHENTICATED_MEDIA);
    return authenticated ? '/_matrix/client/v1/media' : '/_matrix/media/v3';
  }

  /** What the homeserver takes at most, in bytes; asked until it has said it once. */
  async #limit(session: Session, signal: AbortSignal): Promise<number> {
    if (this.#uploadLimit !== undefined) return this.#uploadLimit;
    try {
      const config = await this.#http.request(configSchema, {
        operation: 'asking for the upload limit',
        userId: session.userId,
        method: 'GET',
        path: `${await this.#prefix(signal)}/config`,
        session,
        repeatable: true,
        signal,
      });
      return (this.#uploadLimit = config['m.upload.size'] ?? Infinity);
    } catch (error) {
      // Where the limit cannot be had, the upload itself is the way to find it.
      if (isManagerError(error, 'NOT_FOUND', 'UNSUPPORTED', 'INVALID_RESPONSE')) return Infinity;
      throw error;
    }
  }
}

/** A stream that ends the request also where nobody has read of it. */
function streamOf(bytes: AsyncGenerator<Uint8Array>, { cancel }: MediaResponse): ReadableStream<Uint8Array> {
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
function thumbnailOf({ body, filename, info }: EventContent): EventContent {
  const { thumbnail_url: url, thumbnail_file: file, thumbnail_info: about } = (info ?? {}) as EventContent;
  return { body, filename, url, file, info: about };
}

function readContentUri(text: string): string {
  try {
    return v.parse(uploadedSchema, JSON.parse(text)).content_uri;
  } catch {
    throw invalidResponse({ operation: 'uploading a file' }, 'no content_uri', 200);
  }
}

function readDescription(file: unknown): EncryptedFile {
  const parsed = v.safeParse(encryptedFileSchema, file);
  if (parsed.success) return parsed.output;
  throw damagedFile('its description is not one of an encrypted file, version 2');
}

function msgtypeOf(mimeType: string): string {
  const [kind = ''] = mimeType.split('/');
  return ['image', 'video', 'audio'].includes(kind) ? `m.${kind}` : 'm.file';
}
