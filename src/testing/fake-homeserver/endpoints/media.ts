import type { JsonObject } from '../json.js';
import { MatrixError, notFound } from '../matrix-error.js';
import { randomMediaId } from '../random-ids.js';
import type { Endpoint, EndpointRequest } from '../server/endpoint.js';

const MEDIA = '/_matrix/client/v1/media';
/** Synapse's own default. */
const MAX_UPLOAD_BYTES = 52_428_800;

/** Files, which take a token to be read. @see https://spec.matrix.org/v1.16/client-server-api/#content-repository */
export const mediaEndpoints: readonly Endpoint[] = [
  { method: 'GET', path: `${MEDIA}/config`, auth: 'user', handle: () => ({ 'm.upload.size': MAX_UPLOAD_BYTES }) },
  { method: 'POST', path: '/_matrix/media/v3/upload', auth: 'user', handle: upload },
  { method: 'GET', path: `${MEDIA}/download/{serverName}/{mediaId}`, auth: 'user', handle: download },
  { method: 'GET', path: `${MEDIA}/download/{serverName}/{mediaId}/{fileName}`, auth: 'user', handle: download },
];

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
