import type { Context } from '../core/context.js';
import type { ClientGate } from '../core/ports/request-gate.js';
import type { AnswersOtherRequests } from './failing-time.js';
import type { HomeserverHttp } from './homeserver-http.js';
import type { ServerVersions } from './server-versions.js';

/** The context of the parts that send requests to the homeserver. */
export interface HomeserverContext extends Context {
  readonly http: HomeserverHttp;
  readonly versions: ServerVersions;
  readonly gate: ClientGate;
  readonly answersOtherRequests: AnswersOtherRequests;
}
