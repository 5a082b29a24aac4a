import * as v from 'valibot';
import type { HomeserverHttp } from '../http/homeserver-http.js';
import type { CheckedRequest } from './request-options.js';
import type { SynapseAdminHttp } from '../provisioning/synapse-admin-http.js';
import type { UserCalls } from '../users/user-calls.js';

export interface ApplicationRequestParts {
  readonly calls: UserCalls;
  readonly http: HomeserverHttp;
  readonly adminHttp: SynapseAdminHttp | undefined;
}

/** Makes a request of the application with the session of a user or of the admin. Resolves to the JSON of the response. */
export function sendApplicationRequest(parts: ApplicationRequestParts, checked: CheckedRequest): Promise<unknown> {
  const { calls, http, adminHttp } = parts;
  const { userId, signal: callerSignal, ...endpoint } = checked;
  const operation = `${checked.method} ${checked.template}`;
  return calls.readAs(
    userId,
    async ({ session }, signal) => {
      const request = { ...endpoint, operation, userId: session.userId, signal };
      const isAdminCall = session === adminHttp?.account.session && checked.path.startsWith('/_synapse/');
      if (!isAdminCall) return http.request(v.unknown(), { ...request, session });
      return (await adminHttp.runLimited(() => adminHttp.request(v.unknown(), request), signal)).body;
    },
    callerSignal,
  );
}
