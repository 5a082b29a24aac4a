import type { Endpoint } from '../server/endpoint.js';
import type { World } from '../world/world.js';
import { accountDataEndpoints } from './account-data.js';
import { adminActionEndpoints } from './admin-actions.js';
import { adminRoomEndpoints } from './admin-rooms.js';
import { adminUserListEndpoints } from './admin-user-list.js';
import { adminUserEndpoints } from './admin-users.js';
import { aliasEndpoints } from './aliases.js';
import { deviceEndpoints } from './devices.js';
import { ephemeralEndpoints } from './ephemeral.js';
import { keyBackupEndpoints } from './key-backup.js';
import { keyEndpoints } from './keys.js';
import type { LoginLimit } from './login.js';
import { loginEndpoints } from './login.js';
import type { MediaBehaviour } from './media.js';
import { mediaEndpoints } from './media.js';
import { membershipEndpoints } from './membership.js';
import { messagesEndpoints } from './messages.js';
import { presenceEndpoints } from './presence.js';
import { profileEndpoints } from './profile.js';
import { relationsEndpoints } from './relations.js';
import { roomStateEndpoints } from './room-state.js';
import { searchEndpoints } from './search.js';
import { sendEndpoints } from './send.js';
import { serverInfoEndpoints } from './server-info.js';
import type { SyncBehaviour } from './sync.js';
import { syncEndpoints } from './sync.js';
import { slidingSyncEndpoints } from './sliding-sync.js';
import { upgradeEndpoints } from './upgrade.js';
import { unsupportedEndpoints } from './unsupported.js';

export interface EndpointOptions {
  readonly adminApi: boolean;
  readonly loginLimit: LoginLimit | undefined;
  readonly behaviour: SyncBehaviour & MediaBehaviour;
}

/** All endpoints of the homeserver. */
export function allEndpoints(world: World, { adminApi, loginLimit, behaviour }: EndpointOptions): Endpoint[] {
  return [
    ...serverInfoEndpoints(behaviour),
    ...loginEndpoints(loginLimit),
    ...deviceEndpoints,
    ...profileEndpoints,
    ...presenceEndpoints,
    ...accountDataEndpoints,
    ...syncEndpoints(world, behaviour),
    ...slidingSyncEndpoints(world, behaviour),
    ...messagesEndpoints,
    ...relationsEndpoints,
    ...searchEndpoints,
    ...sendEndpoints,
    ...roomStateEndpoints,
    ...membershipEndpoints,
    ...aliasEndpoints,
    ...upgradeEndpoints,
    ...ephemeralEndpoints,
    ...keyEndpoints,
    ...keyBackupEndpoints,
    ...mediaEndpoints(behaviour),
    ...unsupportedEndpoints,
    ...(adminApi
      ? [...adminUserEndpoints, ...adminUserListEndpoints, ...adminActionEndpoints, ...adminRoomEndpoints]
      : []),
  ];
}
