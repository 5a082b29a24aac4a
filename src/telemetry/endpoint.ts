/** A name in braces matches one segment, which may be empty. `{v}` matches a version of the client-server API. */
const templates = [
  '/_matrix/client/versions',
  '/_matrix/client/unstable/org.matrix.simplified_msc3575/sync',
  '/.well-known/matrix/client',
  ...[
    'sync',
    'login',
    'logout',
    'logout/all',
    'refresh',
    'register',
    'account/whoami',
    'account/deactivate',
    'account/password',
    'capabilities',
    'createRoom',
    'joined_rooms',
    'publicRooms',
    'join/{room}',
    'knock/{room}',
    'devices',
    'devices/{deviceId}',
    'directory/room/{alias}',
    'keys/changes',
    'keys/claim',
    'keys/query',
    'keys/upload',
    'keys/device_signing/upload',
    'keys/signatures/upload',
    'notifications',
    'presence/{userId}/status',
    'profile/{userId}',
    'profile/{userId}/{field}',
    'pushers',
    'pushrules/',
    'pushrules/{scope}/{kind}/{ruleId}',
    'room_keys/keys',
    'room_keys/keys/{roomId}',
    'room_keys/keys/{roomId}/{sessionId}',
    'room_keys/version',
    'room_keys/version/{version}',
    'search',
    'sendToDevice/{type}/{txnId}',
    'user_directory/search',
    'user/{userId}/account_data/{type}',
    'user/{userId}/filter',
    'user/{userId}/filter/{filterId}',
    'user/{userId}/rooms/{roomId}/account_data/{type}',
    'user/{userId}/rooms/{roomId}/tags',
    'user/{userId}/rooms/{roomId}/tags/{tag}',
    'voip/turnServer',
    ...[
      'aliases',
      'ban',
      'context/{eventId}',
      'event/{eventId}',
      'forget',
      'hierarchy',
      'initialSync',
      'invite',
      'join',
      'joined_members',
      'kick',
      'leave',
      'members',
      'messages',
      'read_markers',
      'receipt/{type}/{eventId}',
      'redact/{eventId}/{txnId}',
      'relations/{eventId}',
      'relations/{eventId}/{relType}',
      'relations/{eventId}/{relType}/{type}',
      'send/{type}/{txnId}',
      'state',
      'state/{type}',
      'state/{type}/{stateKey}',
      'threads',
      'timestamp_to_event',
      'typing/{userId}',
      'unban',
      'upgrade',
    ].map((path) => `rooms/{roomId}/${path}`),
  ].map((path) => `/_matrix/client/{v}/${path}`),
  ...['download/{server}/{mediaId}', 'thumbnail/{server}/{mediaId}', 'upload', 'config'].flatMap((path) => [
    `/_matrix/media/{v}/${path}`,
    `/_matrix/client/{v}/media/${path}`,
  ]),
  ...[
    'deactivate/{userId}',
    'join/{room}',
    'register',
    'reset_password/{userId}',
    'server_version',
    'username_available',
    'users/{userId}/admin',
    'users/{userId}/joined_rooms',
    'users/{userId}/login',
    'whois/{userId}',
  ].map((path) => `/_synapse/admin/v1/${path}`),
  ...[
    'rooms/{roomId}',
    'rooms/{roomId}/delete_status',
    'rooms/delete_status/{deleteId}',
    'users',
    'users/{userId}',
    'users/{userId}/devices',
    'users/{userId}/devices/{deviceId}',
  ].map((path) => `/_synapse/admin/v2/${path}`),
];

interface Node {
  readonly children: Map<string, Node>;
  any?: Node;
  template?: string;
}

/** Key of the child for `{v}`. A segment of a path cannot contain a slash. */
const VERSION = '/';
const rootNode: Node = { children: new Map() };
for (const template of templates) {
  let node = rootNode;
  for (const segment of template.split('/')) node = childFor(node, segment === '{v}' ? VERSION : segment);
  node.template = template;
}

function childFor(node: Node, segment: string): Node {
  if (segment.startsWith('{')) return (node.any ??= { children: new Map() });
  const child = node.children.get(segment) ?? { children: new Map() };
  node.children.set(segment, child);
  return child;
}

/** The template of a path, with names in place of its ids; `other` for an unknown path. */
export function endpointOf(path: string): string {
  // The homeserver may be served below a path.
  const start = /^\/_(matrix|synapse)\//.test(path) ? 0 : path.search(/\/(_matrix|_synapse|\.well-known)\//);
  let node: Node | undefined = rootNode;
  let version = '';
  for (const segment of (start > 0 ? path.slice(start) : path).split('/')) {
    const found: Node | undefined = node.children.get(segment) ?? node.any;
    if (!found && /^(r0|v[1-4]|unstable)$/.test(segment)) {
      version = segment;
      node = node.children.get(VERSION);
    } else node = found;
    if (!node) return 'other';
  }
  return node.template?.replace('{v}', version) ?? 'other';
}

const methods = new Set(['GET', 'PUT', 'POST', 'DELETE', 'HEAD', 'OPTIONS']);

export function methodOf(method: string): string {
  return methods.has(method) ? method : 'other';
}

/** Status class, such as `2xx`; `none` without a response. */
export function statusClass(status: number | undefined): string {
  return status !== undefined && status >= 100 && status < 600 ? `${Math.floor(status / 100)}xx` : 'none';
}
