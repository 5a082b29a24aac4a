import type { OutgoingRequest } from './crypto-backend.js';

/** Values by user id and device id, as in requests and responses of `/keys/claim` and `/sendToDevice`. */
export type ByDevice = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

export type DeviceEntry = readonly [userId: string, deviceId: string, value: unknown];

/** Own properties only, whatever the ids are. */
export function byDevice(entries: readonly DeviceEntry[]): ByDevice {
  const users = [...Map.groupBy(entries, ([userId]) => userId)];
  return Object.fromEntries(
    users.map(([userId, ofUser]) => [
      userId,
      Object.fromEntries(ofUser.map(([, deviceId, value]) => [deviceId, value])),
    ]),
  );
}

/** The opposite of {@link byDevice}. */
export function deviceEntries(values: ByDevice): DeviceEntry[] {
  return Object.entries(values).flatMap(([userId, devices]) =>
    Object.entries(devices).map(([deviceId, value]) => [userId, deviceId, value] as const),
  );
}

/** The devices that a request of the crypto library claims one-time keys of. */
export function claimedDevices({ body = '{}' }: Pick<Partial<OutgoingRequest>, 'body'>): DeviceEntry[] {
  const { one_time_keys: claims = {} } = JSON.parse(body) as { readonly one_time_keys?: ByDevice };
  return deviceEntries(claims);
}

/** The claim for the devices that `isClaimed` names; undefined if there are none. The request may be another object. */
export function claimOnly(
  request: OutgoingRequest,
  isClaimed: (userId: string, deviceId: string) => boolean,
): OutgoingRequest | undefined {
  const all = claimedDevices(request);
  const left = all.filter(([userId, deviceId]) => isClaimed(userId, deviceId));
  if (left.length === all.length) return request;
  if (left.length === 0) return undefined;
  const { timeout } = JSON.parse(request.body) as { readonly timeout?: number };
  const body = JSON.stringify({ one_time_keys: byDevice(left), timeout });
  const KeysClaimRequest = request.constructor as new (id: string | undefined, body: string) => OutgoingRequest;
  return new KeysClaimRequest(request.id, body);
}
