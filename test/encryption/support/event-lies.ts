import { onTestFinished } from 'vitest';
import type { HomeserverTarget } from '../../../src/testing/contracts/homeserver-contract.js';
import { FakeHomeserver } from '../../../src/testing/fake-homeserver/fake-homeserver.js';
import { changeEvents } from '../../../src/testing/fake-homeserver/server/change-events.js';
import { withDevice } from '../../../src/testing/fake-homeserver/server/injected-devices.js';
import type {
  DeviceEntry,
  InjectedDevice,
  InjectedMessages,
} from '../../../src/testing/fake-homeserver/server/injected-devices.js';
import type { ChangeEvent } from '../../../src/testing/fake-homeserver/server/change-events.js';

/** A homeserver that can lie about events. */
export interface LyingHomeserver {
  readonly target: HomeserverTarget;
  /** Changes the events of all responses from now on. @returns what ends the lie */
  rewriteEvents(change: ChangeEvent): () => void;
  /** Gives a device messages that nobody has sent. @param accessToken - of the device's session */
  injectToDevice(messages: InjectedMessages, accessToken: string): void;
  /** Shows a device that the user does not have, or other keys of one. */
  injectDevice(device: InjectedDevice): void;
  /** The messages to devices that were sent, by user and device. */
  readonly toDevice: readonly ToDevice[];
}

type ToDevice = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

/** The homeserver, and what is sent to it for devices. */
function watched(target: HomeserverTarget): { target: HomeserverTarget; toDevice: ToDevice[] } {
  const toDevice: ToDevice[] = [];
  const through = target.fetch ?? globalThis.fetch;
  const watch: typeof globalThis.fetch = async (input, init) => {
    const request = new Request(input, init);
    if (!request.url.includes('/sendToDevice/m.room.encrypted/')) return through(input, init);
    toDevice.push(((await request.clone().json()) as { messages: ToDevice }).messages);
    return through(request);
  };
  const { baseUrl, serverName, admin } = target;
  return { target: { baseUrl, serverName, admin, fetch: watch }, toDevice };
}

export async function lyingFake(): Promise<LyingHomeserver & { readonly fake: FakeHomeserver }> {
  const fake = new FakeHomeserver();
  onTestFinished(() => fake.close());
  return {
    fake,
    ...watched(fake),
    rewriteEvents: (change) => fake.faults.rewriteEvents({}, change),
    injectToDevice: (messages) => fake.faults.injectToDevice(messages),
    injectDevice: (device) => void fake.faults.injectDevice({}, device),
  };
}

/** A proxy before a real homeserver. */
export function lyingProxy({ baseUrl, serverName, admin }: HomeserverTarget): LyingHomeserver {
  const lies = new Set<ChangeEvent>();
  const devices: DeviceEntry[] = [];
  /** Events by the header that the device's session sends. */
  const inboxes = new Map<string, readonly object[]>();
  const proxied: typeof globalThis.fetch = async (input, init) => {
    const request = new Request(input, init);
    const { pathname } = new URL(request.url);
    const response = await fetch(request);
    const isJson = response.headers.get('content-type')?.startsWith('application/json');
    if (!isJson || response.status !== 200) return response;
    let body: unknown = await response.json();
    for (const lie of lies) body = changeEvents(body, lie);
    const section = new Map([
      ['query', 'device_keys'],
      ['claim', 'one_time_keys'],
    ]).get(/\/keys\/(query|claim)$/.exec(pathname)?.[1] ?? '');
    for (const device of devices) if (device.section === section) body = withDevice(body, device);
    const session = request.headers.get('authorization') ?? '';
    const injected = pathname.endsWith('/v3/sync') && inboxes.get(session);
    if (injected) {
      inboxes.delete(session);
      const sync = body as { to_device?: { events: object[] } };
      sync.to_device = { events: [...injected, ...(sync.to_device?.events ?? [])] };
    }
    return Response.json(body);
  };
  return {
    ...watched({ baseUrl, serverName, admin, fetch: proxied }),
    rewriteEvents: (change) => {
      lies.add(change);
      return () => lies.delete(change);
    },
    injectToDevice: ({ events }, accessToken) => void inboxes.set(`Bearer ${accessToken}`, events),
    injectDevice: ({ oneTimeKeys, deviceKeys, ...device }) => {
      devices.push({ ...device, section: 'device_keys', value: deviceKeys });
      if (oneTimeKeys) devices.push({ ...device, section: 'one_time_keys', value: oneTimeKeys });
    },
  };
}
