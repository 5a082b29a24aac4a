import * as v from 'valibot';
import type { MediaHttp, MediaRequest } from '../http/media-http.js';
import { invalidResponse } from '../http/response-error.js';
import type { Session } from '../http/session.js';
import { collect } from './file-body.js';

const uploadedSchema = v.object({ content_uri: v.pipe(v.string(), v.startsWith('mxc://')) });
const MAX_RESPONSE_BYTES = 65_536;

/** The request of an upload. */
export interface Upload extends Pick<MediaRequest, 'operation' | 'roomId' | 'body' | 'repeatable' | 'beforeSend'> {
  /** In bytes. */
  readonly size: number;
  readonly mimeType: string;
  /** Undefined if the homeserver must not know it. */
  readonly fileName?: string;
}

/**
 * Uploads a file as it is, and resolves to its `mxc://` URI.
 * @see https://spec.matrix.org/v1.16/client-server-api/#post_matrixmediav3upload
 */
export async function upload(media: MediaHttp, session: Session, file: Upload, signal: AbortSignal): Promise<string> {
  const { size, mimeType, fileName, ...request } = file;
  const response = await media.request({
    ...request,
    userId: session.userId,
    method: 'POST',
    path: `/_matrix/media/v3/upload${fileName === undefined ? '' : `?filename=${encodeURIComponent(fileName)}`}`,
    headers: { 'content-type': mimeType, 'content-length': String(size) },
    session,
    signal,
  });
  return readContentUri((await collect(response.body, MAX_RESPONSE_BYTES)).toString());
}

function readContentUri(text: string): string {
  try {
    return v.parse(uploadedSchema, JSON.parse(text)).content_uri;
  } catch {
    throw invalidResponse({ operation: 'uploading a file' }, 'no content_uri', 200);
  }
}
