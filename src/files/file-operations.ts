import type { EventContent } from '../core/raw-event.js';
import type { ManagerLifecycle } from '../core/lifecycle.js';
import type { Session } from '../http/session.js';
import type { Attachments, DownloadedFile } from './attachments.js';
import type { DownloadFileOptions, SendFileOptions } from './file-options.js';

export interface FileOperationsOptions<Caller> {
  readonly attachments: Attachments;
  readonly maxFileBytes: number;
  readonly lifecycle: ManagerLifecycle;
  /** Whether the room is encrypted. Rejects if it is and the user has no encryption. */
  readonly isEncrypted: (caller: Caller, roomId: string, signal: AbortSignal) => Promise<boolean>;
  readonly sendMessage: (message: FileMessage) => Promise<{ eventId: string }>;
}

/** The message that refers to an uploaded file. */
export interface FileMessage extends Pick<SendFileOptions, 'userId' | 'roomId' | 'txnId' | 'signal'> {
  readonly content: EventContent;
}

/** Sends messages with files, and downloads the files of messages. */
export class FileOperations<Caller extends { readonly session: Session }> {
  readonly #options: FileOperationsOptions<Caller>;

  constructor(options: FileOperationsOptions<Caller>) {
    this.#options = options;
  }

  /** Uploads the file as the caller, encrypted if the room is, and sends its message. */
  async send(
    caller: Caller,
    { userId, roomId, file, msgtype, txnId, signal: callerSignal }: SendFileOptions,
    signal: AbortSignal,
  ): Promise<{ eventId: string; contentUri: string }> {
    const { attachments, maxFileBytes, isEncrypted, lifecycle, sendMessage } = this.#options;
    const encrypted = await isEncrypted(caller, roomId, signal);
    const upload = { encrypted, roomId, msgtype, maxBytes: maxFileBytes, signal };
    const { content, contentUri } = await attachments.upload(caller.session, file, upload);
    lifecycle.assertOpen(); // a shutdown may have begun during the upload
    const { eventId } = await sendMessage({ userId, roomId, content, txnId, signal: callerSignal });
    return { eventId, contentUri };
  }

  download(session: Session, options: DownloadFileOptions, signal: AbortSignal): Promise<DownloadedFile> {
    const { attachments, maxFileBytes } = this.#options;
    const { roomId, content, thumbnail = false, maxBytes = maxFileBytes } = options;
    return attachments.download(session, content, { roomId, thumbnail, maxBytes, signal });
  }
}
