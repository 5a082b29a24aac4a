import * as v from 'valibot';
import { invalidOptions } from '../core/errors.js';
import { mayBeSentClear } from '../core/unencrypted-types.js';
import type { EncryptedRooms } from '../encryption/encrypted-rooms.js';
import type { HomeserverHttp } from '../http/homeserver-http.js';
import type { CheckedRequest } from './request-options.js';
import type { SynapseAdminHttp } from '../provisioning/synapse-admin-http.js';
import type { UserCalls } from '../users/user-calls.js';

export interface ApplicationRequestParts {
  readonly calls: UserCalls;
  readonly http: HomeserverHttp;
  readonly adminHttp: SynapseAdminHttp | undefined;
  readonly encryptedRooms: Pick<EncryptedRooms, 'has'>;
}

/** The request that sends an event. */
const SEND = /^\/_matrix\/client\/[^/]+\/rooms\/([^/]+)\/send\/([^/]+)/;

/** Makes a request of the application with the session of a user or of the admin. Resolves to the JSON of the response. */
export function sendApplicationRequest(parts: ApplicationRequestParts, checked: CheckedRequest): Promise<unknown> {
  const { calls, http, adminHttp, encryptedRooms } = parts;
  const { userId, signal: callerSignal, ...endpoint } = checked;
  const operation = `${checked.method} ${checked.template}`;
  return calls.readAs(
    userId,
    async ({ session }, signal) => {
      await assertMayBeClear(encryptedRooms, checked);
      const request = { ...endpoint, operation, userId: session.userId, signal };
      const isAdminCall = session === adminHttp?.account.session && checked.path.startsWith('/_synapse/');
      if (!isAdminCall) return http.request(v.unknown(), { ...request, session });
      return (await adminHttp.runLimited(() => adminHttp.request(v.unknown(), request), signal)).body;
    },
    callerSignal,
  );
}

/** Throws for a message in the clear to a room that was seen encrypted. */
async function assertMayBeClear(rooms: Pick<EncryptedRooms, 'has'>, { path, template }: CheckedRequest): Promise<void> {
  const [, roomId = '', type = ''] = (SEND.exec(path) ?? []).map((part) => decodeURIComponent(part));
  if (roomId === '' || mayBeSentClear(type)) return;
  if (!(await rooms.has(roomId))) return;
  const message = `${template} would send to ${roomId} in the clear, and the room is encrypted: use sendMessage()`;
  throw invalidOptions(message, { roomId });
}
