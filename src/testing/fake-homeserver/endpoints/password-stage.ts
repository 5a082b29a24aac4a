import type { JsonObject } from '../json.js';
import { objectOrEmpty } from '../json.js';
import { Reply } from '../server/endpoint.js';
import type { User } from '../world/user.js';

const asked = { session: 'fake-uia-session', flows: [{ stages: ['m.login.password'] }], params: {} };

/**
 * The 401 response until the body has the user's password.
 * @see https://spec.matrix.org/v1.16/client-server-api/#user-interactive-authentication-api
 */
export function passwordStage({ password }: User, body: JsonObject): Reply | undefined {
  const auth = objectOrEmpty(body['auth']);
  if (auth['type'] !== 'm.login.password') return new Reply(401, asked);
  if (password !== undefined && auth['password'] === password) return undefined;
  return new Reply(401, { ...asked, completed: [], errcode: 'M_FORBIDDEN', error: 'Invalid password' });
}
