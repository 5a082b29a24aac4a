import type { HttpRequest } from '../../../src/http/homeserver-http.js';
import { HomeserverHttp } from '../../../src/http/homeserver-http.js';
import { openGate } from '../../../src/core/ports/request-gate.js';
import { Session } from '../../../src/http/session.js';
import { testContext } from '../../support/context.js';
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
export function httpOnScript(answers: ConstructorParameters<typeof ScriptedFetch>) {
  const script = new ScriptedFetch(...answers);
  const context = testContext();
  const { connections } = script;
  const http = new RecordingHttp(context, { homeserverUrl: 'https://hs.test', connections, gate: openGate });
  return { ...context, http, asked: http.asked, requests: script.requests, session: sessionOf() };
}
