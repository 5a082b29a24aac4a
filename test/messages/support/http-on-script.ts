import type { HttpRequest } from '../../../src/http/homeserver-http.js';
import { HomeserverHttp } from '../../../src/http/homeserver-http.js';
import { Session } from '../../../src/http/session.js';
import type { Telemetry } from '../../../src/core/telemetry.js';
import { ManualClock } from '../../../src/testing/manual-clock.js';
import { ScriptedFetch } from '../../support/scripted-fetch.js';

export const alice = '@alice:hs.test';
export const room = '!room:hs.test';

export function sessionOf(userId = alice): Session {
  return new Session(userId, { userId, accessToken: `token-of-${userId}`, deviceId: 'DEVICE' });
}

/** Keeps the requests as they were asked for, with their priority, beside those that were sent. */
class RecordingHttp extends HomeserverHttp {
  readonly asked: HttpRequest[] = [];

  override requestWithStatus: HomeserverHttp['requestWithStatus'] = (schema, request) => {
    this.asked.push(request);
    return super.requestWithStatus(schema, request);
  };
}

/** A homeserver that gives one answer after the other. */
export function httpOnScript(answers: ConstructorParameters<typeof ScriptedFetch>, telemetry?: Telemetry) {
  const clock = new ManualClock();
  const script = new ScriptedFetch(...answers);
  const http = new RecordingHttp({
    homeserverUrl: 'https://hs.test',
    connections: script.connections,
    clock,
    requestTimeoutMs: 30_000,
    ...(telemetry && { telemetry }),
  });
  return { clock, http, asked: http.asked, requests: script.requests, session: sessionOf() };
}
