import { describe, expect, it } from 'vitest';
import { endpointOf, methodOf, statusClass } from '../../src/telemetry/endpoint.js';

const room = encodeURIComponent('!abc:hs.test');
const user = encodeURIComponent('@alice:hs.test');
const client = '/_matrix/client/v3';

describe('the endpoint of a path', () => {
  it.each([
    ['/_matrix/client/versions', '/_matrix/client/versions'],
    [`${client}/sync`, `${client}/sync`],
    [`${client}/pushrules/`, `${client}/pushrules/`],
    [`${client}/rooms/${room}/send/m.room.message/mcm.1`, `${client}/rooms/{roomId}/send/{type}/{txnId}`],
    [`${client}/rooms/${room}/state/m.room.encryption/`, `${client}/rooms/{roomId}/state/{type}/{stateKey}`],
    [`${client}/rooms/${room}/messages`, `${client}/rooms/{roomId}/messages`],
    [`${client}/rooms/sync/messages`, `${client}/rooms/{roomId}/messages`],
    [`${client}/user/${user}/filter`, `${client}/user/{userId}/filter`],
    [`${client}/join/${room}`, `${client}/join/{room}`],
    ['/_matrix/client/r0/login', '/_matrix/client/r0/login'],
    ['/_matrix/client/v1/rooms/x/relations/y', '/_matrix/client/v1/rooms/{roomId}/relations/{eventId}'],
    [`/_synapse/admin/v2/users/${user}/devices/ABC`, '/_synapse/admin/v2/users/{userId}/devices/{deviceId}'],
    [`/below/a/path${client}/sync`, `${client}/sync`],
  ])('of %s is %s', (path, endpoint) => {
    expect(endpointOf(path)).toBe(endpoint);
  });

  it.each([
    '',
    '/',
    '/_matrix/client/v3',
    '/_matrix/client/v3/nothing',
    '/_matrix/client/v31/sync',
    `/_matrix/client/v3/rooms/${room}`,
    `/_matrix/client/v3/rooms/${room}/nothing`,
    `/_matrix/client/${user}/sync`,
    '/_matrix/client/unstable/org.matrix.msc4143/rtc/transports',
    `${client}/sync/more`,
    '/_matrix/client/{v}/sync',
    '/_matrix/client/v3/__proto__',
  ])('of %s is unknown', (path) => {
    expect(endpointOf(path)).toBe('other');
  });
});

it('methods and statuses come from small sets', () => {
  expect(['GET', 'DELETE', 'BREW'].map(methodOf)).toEqual(['GET', 'DELETE', 'other']);
  expect([200, 302, 404, 599, 600, 42, undefined].map(statusClass)).toEqual([
    '2xx',
    '3xx',
    '4xx',
    '5xx',
    'none',
    'none',
    'none',
  ]);
});
