import type { JsonObject } from '../json.js';
import { MatrixError, notFound } from '../matrix-error.js';
import { randomMediaId } from '../random-ids.js';
import type { Endpoint, EndpointRequest } from '../server/endpoint.js';

const MEDIA = '/_matrix/client/v1/media';
/** The path of downloads without a token, as before v1.11 of the specification. */
const OLD_MEDIA = '/_matrix/media/v3';
export interface MediaBehaviour {
  /** Whether downloads need a token. */
  readonly authenticatedMedia: boolean;
}

/** Synapse's default. */
const MAX_UPLOAD_BYTES = 52_428_800;

/**
 * Uploads and downloads. If downloads need a token, the older paths respond with 404, as in Synapse.
 * @see https://spec.matrix.org/v1.16/client-server-api/#content-repository
 */
export function mediaEndpoints({ authenticatedMedia }: MediaBehaviour): Endpoint[] {
  const old = authenticatedMedia ? none : download;
  return [
    { method: 'POST', path: `${OLD_MEDIA}/upload`, auth: 'user', handle: upload },
    { method: 'GET', path: `${OLD_MEDIA}/config`, auth: 'user', handle: config },
    { method: 'GET', path: `${OLD_MEDIA}/download/{serverName}/{mediaId}`, auth: 'none', handle: old },
    ...(authenticatedMedia ? authenticatedEndpoints : []),
  ];
}

const authenticatedEndpoints: readonly Endpoint[] = [
  { method: 'GET', path: `${MEDIA}/config`, auth: 'user', handle: config },
  { method: 'GET', path: `${MEDIA}/download/{serverName}/{mediaId}`, auth: 'user', handle: download },
  { method: 'GET', path: `${MEDIA}/download/{serverName}/{mediaId}/{fileName}`, auth: 'user', handle: download },
];

function config(): JsonObject {
  return { 'm.upload.size': MAX_UPLOAD_BYTES };
}

function none(): never {
  throw notFound('Not found');
}

function upload({ world, bytes, headers, query }: EndpointRequest): JsonObject {
  if (!headers.has('content-length')) {
    throw new MatrixError(400, 'M_UNKNOWN', 'Request must specify a Content-Length');
  }
  if (bytes.byteLength > MAX_UPLOAD_BYTES) {
    throw new MatrixError(413, 'M_TOO_LARGE', 'Upload request body is too large');
  }
  const mediaId = randomMediaId();
  const contentType = headers.get('content-type') ?? 'application/octet-stream';
  world.media.set(mediaId, { bytes, contentType, fileName: query.get('filename') });
  return { content_uri: `mxc://${world.serverName}/${mediaId}` };
}

function download({ world, params }: EndpointRequest): Response {
  const found = params['serverName'] === world.serverName ? world.media.get(params['mediaId'] ?? '') : undefined;
  if (!found) throw notFound('Not found');
  const name = found.fileName === null ? '' : `; filename=${encodeURIComponent(found.fileName)}`;
  return new Response(found.bytes.slice(), {
    headers: {
      'content-type': found.contentType,
      'content-length': String(found.bytes.byteLength),
      'content-disposition': `attachment${name}`,
    },
  });
}
