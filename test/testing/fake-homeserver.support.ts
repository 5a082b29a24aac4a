import {
  createClient,
  ClientEvent,
  RoomEvent,
  SyncState,
  type ICreateClientOpts,
  type MatrixClient,
} from 'matrix-js-sdk';
import { sdkLogger, silenceSdkRootLogger } from '../../src/sdk/sdk-logger.js';
import { silentLogger } from '../../src/core/logger.js';
import type { FakeHomeserver } from '../../src/testing/fake-homeserver/fake-homeserver.js';
import type { FakeUser } from '../../src/testing/fake-homeserver/world-driver.js';

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  // what comes back is looked at, not worked with
  // oxlint-disable-next-line typescript/no-explicit-any
  readonly body: any;
}

export interface Call {
  readonly method?: string;
  readonly body?: unknown;
  readonly token?: string;
  readonly signal?: AbortSignal;
}

/** Asks the fake homeserver in process. A path without `/_` in front lies under `/_matrix/client/v3`. */
export async function call(fake: FakeHomeserver, path: string, options: Call = {}): Promise<Answer> {
  const { method = 'GET', body, token, signal } = options;
  const url = fake.baseUrl + (path.startsWith('/_') ? path : `/_matrix/client/v3${path}`);
  const response = await fake.fetch(url, {
    method,
    headers: token === undefined ? {} : { Authorization: `Bearer ${token}` },
    ...(body !== undefined && { body: JSON.stringify(body) }),
    ...(signal && { signal }),
  });
  return { status: response.status, headers: response.headers, body: await response.json() };
}

/** Syncs once. */
export async function sync(fake: FakeHomeserver, user: FakeUser, query: Record<string, string> = {}): Promise<Answer> {
  return call(fake, `/sync?${new URLSearchParams(query).toString()}`, { token: user.accessToken });
}

/** The bodies of what a sync holds of a room's timeline. */
export function bodies(answer: Answer, roomId: string): string[] {
  const events: { type: string; content: { body: string } }[] =
    answer.body.rooms?.join?.[roomId]?.timeline.events ?? [];
  return events.filter(({ type }) => type === 'm.room.message').map(({ content }) => content.body);
}

/** Lets everything settle that waits for nothing but the event loop. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
}

/** A matrix-js-sdk client of the fake homeserver that says nothing. */
export function sdkClient(user: FakeUser, options: ICreateClientOpts): MatrixClient {
  silenceSdkRootLogger();
  return createClient({ ...user, logger: sdkLogger(silentLogger, user.userId), ...options });
}

/** Starts a client and waits until its first sync is in. */
export async function started(client: MatrixClient): Promise<MatrixClient> {
  const ready = new Promise<void>((resolve) => {
    client.on(ClientEvent.Sync, (state) => {
      if (state === SyncState.Prepared) resolve();
    });
  });
  await client.startClient({ initialSyncLimit: 10 });
  await ready;
  return client;
}

/** Waits for a message with that text to come in. */
export function messageArrives(client: MatrixClient, text: string): Promise<string> {
  return new Promise((resolve) => {
    client.on(RoomEvent.Timeline, (event) => {
      if (event.getContent()['body'] === text) resolve(event.getId() ?? '');
    });
  });
}
