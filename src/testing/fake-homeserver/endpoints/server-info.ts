import type { JsonObject } from '../json.js';
import { DEFAULT_ROOM_VERSION } from '../rooms/create-room.js';
import type { Endpoint } from '../server/endpoint.js';
import { pushRules } from '../sync/push-rules.js';
import type { MediaBehaviour } from './media.js';
import type { SyncBehaviour } from './sync.js';

/** The version that the homeserver reports: that of the Synapse it was compared with. */
export const SYNAPSE_VERSION = '1.160.0';

const VERSIONS = ['r0.0.1', 'r0.1.0', 'r0.2.0', 'r0.3.0', 'r0.4.0', 'r0.5.0', 'r0.6.0', 'r0.6.1'].concat(
  Array.from({ length: 12 }, (_, index) => `v1.${index + 1}`),
);

/** The version of the specification that introduced downloads with a token. */
const AUTHENTICATED_MEDIA = 'v1.11';

/** Endpoints that clients call at their start: versions, capabilities, push rules. */
export function serverInfoEndpoints(behaviour: SyncBehaviour & MediaBehaviour): Endpoint[] {
  return [
    { method: 'GET', path: '/_matrix/client/versions', auth: 'none', handle: () => versions(behaviour) },
    { method: 'GET', path: '/capabilities', auth: 'user', handle: capabilities },
    { method: 'GET', path: '/pushrules/', auth: 'user', handle: ({ user }) => pushRules(user) },
    { method: 'GET', path: '/voip/turnServer', auth: 'user', handle: () => ({}) },
  ];
}

function versions({ slidingSync, authenticatedMedia }: SyncBehaviour & MediaBehaviour): JsonObject {
  return {
    versions: authenticatedMedia ? VERSIONS : VERSIONS.slice(0, VERSIONS.indexOf(AUTHENTICATED_MEDIA)),
    unstable_features: {
      'org.matrix.e2e_cross_signing': true,
      'org.matrix.msc2285.stable': true,
      'org.matrix.msc3440.stable': true,
      'org.matrix.msc3771': true,
      'org.matrix.msc3773': false,
      'org.matrix.msc3981': true,
      'org.matrix.msc4140': false,
      'org.matrix.msc4143': false,
      'org.matrix.simplified_msc3575': slidingSync,
    },
  };
}

function capabilities(): JsonObject {
  const available = Array.from({ length: 12 }, (_, index) => [String(index + 1), 'stable']);
  return {
    capabilities: {
      'm.room_versions': { default: DEFAULT_ROOM_VERSION, available: Object.fromEntries(available) },
      'm.change_password': { enabled: true },
      'm.set_displayname': { enabled: true },
      'm.set_avatar_url': { enabled: true },
      'm.3pid_changes': { enabled: true },
      'm.get_login_token': { enabled: false },
      'm.profile_fields': { enabled: true },
    },
  };
}
