/** A server name of `.` or `..` is not matched, because it would change the path of a request. */
const MXC = /^mxc:\/\/(?!\.{1,2}\/)([\w.:[\]-]+)\/([\w-]+)$/;

/** The value if it is the URI of an uploaded file. Its parts are not checked. */
export function mxcUri(value: unknown): string | undefined {
  return typeof value === 'string' && value.startsWith('mxc://') ? value : undefined;
}

/**
 * The parts of the URI of an uploaded file; undefined if it is not valid.
 * @see https://spec.matrix.org/v1.16/client-server-api/#matrix-content-mxc-uris
 */
export function parseMxcUri(uri: string): { readonly server: string; readonly mediaId: string } | undefined {
  const [, server, mediaId] = MXC.exec(uri) ?? [];
  return server === undefined || mediaId === undefined ? undefined : { server, mediaId };
}
