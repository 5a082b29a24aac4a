import type { JsonObject } from '../json.js';
import { objectOrEmpty } from '../json.js';
import { MatrixError, forbidden, notFound } from '../matrix-error.js';
import type { Endpoint, EndpointRequest } from '../server/endpoint.js';
import type { AccountData } from '../world/account-data.js';

const TAGS = 'm.tag';

/** Account data of users. */
export const accountDataEndpoints: readonly Endpoint[] = [
  { method: 'GET', path: '/user/{userId}/account_data/{type}', auth: 'user', handle: getAccountData },
  { method: 'PUT', path: '/user/{userId}/account_data/{type}', auth: 'user', handle: putAccountData },
  { method: 'GET', path: '/user/{userId}/rooms/{roomId}/account_data/{type}', auth: 'user', handle: getAccountData },
  { method: 'PUT', path: '/user/{userId}/rooms/{roomId}/account_data/{type}', auth: 'user', handle: putAccountData },
  { method: 'GET', path: '/user/{userId}/rooms/{roomId}/tags', auth: 'user', handle: getTags },
  { method: 'PUT', path: '/user/{userId}/rooms/{roomId}/tags/{tag}', auth: 'user', handle: putTag },
  { method: 'DELETE', path: '/user/{userId}/rooms/{roomId}/tags/{tag}', auth: 'user', handle: deleteTag },
];

function getAccountData(request: EndpointRequest): JsonObject {
  const content = dataOf(request, 'Cannot get account data for other users.').get(request.param('type'));
  if (!content) throw notFound(request.params['roomId'] ? 'Room account data not found' : 'Account data not found');
  return content;
}

function putAccountData(request: EndpointRequest): JsonObject {
  const type = request.param('type');
  const data = dataOf(request, 'Cannot add account data for other users.');
  if (type === 'm.fully_read') {
    throw new MatrixError(
      405,
      'M_BAD_JSON',
      'Cannot set m.fully_read through this API. Use /rooms/!roomId:server.name/read_markers',
    );
  }
  store(request, data, type, request.json());
  return {};
}

function getTags(request: EndpointRequest): JsonObject {
  return { tags: tagsIn(dataOf(request, 'Cannot get tags for other users.')) };
}

function putTag(request: EndpointRequest): JsonObject {
  const data = dataOf(request, 'Cannot add tags for other users.');
  store(request, data, TAGS, { tags: { ...tagsIn(data), [request.param('tag')]: request.json() } });
  return {};
}

function deleteTag(request: EndpointRequest): JsonObject {
  const data = dataOf(request, 'Cannot add tags for other users.');
  const { [request.param('tag')]: _removed, ...tags } = tagsIn(data);
  store(request, data, TAGS, { tags });
  return {};
}

function tagsIn(data: AccountData): JsonObject {
  return objectOrEmpty(data.get(TAGS)?.['tags']);
}

function store({ world, user }: EndpointRequest, data: AccountData, type: string, content: JsonObject): void {
  data.set(type, content, world.stream.next());
  world.waiters.wake(user.userId);
}

/** The user's account data, global or of the room in the path. Throws 403 for another user's. */
function dataOf({ user, params }: EndpointRequest, refusal: string): AccountData {
  if (params['userId'] !== user.userId) throw forbidden(refusal);
  return params['roomId'] === undefined ? user.accountData : user.roomAccountData(params['roomId']);
}
