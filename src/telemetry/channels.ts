import { channel } from 'node:diagnostics_channel';
import type { ClientEventType, Provenance } from '../core/client-event.js';
import type { RequestResult, SyncKind } from '../core/diagnostic-messages.js';
import type { Diagnostics } from '../core/diagnostics.js';
import { isManagerError } from '../core/errors.js';
import type { EndpointLabels } from './endpoint-labels.js';
import { errorType } from './spans.js';

/**
 * The messages of the node:diagnostics_channel channels, by channel name. A message is published after the operation,
 * and built only if the channel has subscribers. Messages contain ids of users, rooms and events, because they do not
 * leave the process. They contain no token and no event content. Durations are in milliseconds.
 */
export interface DiagnosticsMessages {
  /** The start of a client succeeded or failed. */
  'matrix-client-manager:client.start': {
    readonly userId: string;
    readonly outcome: 'live' | 'failed';
    /** Whether the client started from a stored position. */
    readonly resumed: boolean;
    readonly durationMs: number;
    /** The code of the error, if the start failed. */
    readonly errorCode?: string;
  };
  /** A client was stopped completely. */
  'matrix-client-manager:client.stop': {
    readonly userId: string;
    /** As in the event `clientStopped` of the manager. */
    readonly reason: string;
  };
  /** A sync response was received, and its events were handed to the callbacks. */
  'matrix-client-manager:sync': {
    readonly userId: string;
    readonly kind: SyncKind;
    /** Time until the response, in milliseconds; includes the homeserver's wait for new events. */
    readonly durationMs: number;
    readonly processingMs: number;
    readonly rooms: number;
    readonly events: number;
  };
  /** A callback was called. */
  'matrix-client-manager:callback': {
    readonly userId: string;
    /** Absent for presence, which has no room. */
    readonly roomId?: string;
    /** Absent for events without an id: typing, invitations. */
    readonly eventId?: string;
    readonly type: ClientEventType;
    readonly provenance: Provenance;
    readonly attempt: number;
    readonly outcome: 'handled' | 'failed';
    readonly durationMs: number;
  };
  /** A request has ended. */
  'matrix-client-manager:request': {
    readonly method: string;
    readonly endpoint: string;
    /** The path of the request, with its ids, without the query. */
    readonly path: string;
    readonly status: number | undefined;
    readonly result: RequestResult;
    readonly durationMs: number;
  };
  /** A position was stored, or storing it failed. */
  'matrix-client-manager:checkpoint': {
    readonly userId: string;
    readonly outcome: 'stored' | 'failed';
    readonly durationMs: number;
  };
  /** A gap in a timeline was filled, completely or in part. */
  'matrix-client-manager:gap': {
    readonly userId: string;
    readonly roomId: string;
    /** How many events were fetched. */
    readonly events: number;
    /** Whether the gap was filled completely. */
    readonly complete: boolean;
    readonly durationMs: number;
  };
  /** A message was sent, or sending it failed. */
  'matrix-client-manager:send': {
    readonly userId: string;
    readonly roomId: string;
    readonly outcome: 'sent' | 'failed';
    readonly durationMs: number;
    readonly errorCode?: string;
  };
}

export type DiagnosticsChannelName = keyof DiagnosticsMessages;

/** The names of the channels. */
export const diagnosticsChannels = [
  'matrix-client-manager:client.start',
  'matrix-client-manager:client.stop',
  'matrix-client-manager:sync',
  'matrix-client-manager:callback',
  'matrix-client-manager:request',
  'matrix-client-manager:checkpoint',
  'matrix-client-manager:gap',
  'matrix-client-manager:send',
] as const satisfies readonly DiagnosticsChannelName[];

/** Keeps a reference to each channel, because Node only holds channels weakly. */
const channels = new Map(diagnosticsChannels.map((name) => [name, channel(name)]));

/**
 * Publishes the manager's messages on the channels that have subscribers. Node reports an error of a subscriber as
 * uncaught.
 */
export function publishOnChannels(diagnostics: Diagnostics, endpoints: EndpointLabels): void {
  diagnostics.subscribe('clientStart', ({ userId }, end, durationMs) =>
    publish('matrix-client-manager:client.start', () => {
      const start = { userId, resumed: end.result?.resumed ?? false, durationMs };
      if (end.outcome === 'ok') return { ...start, outcome: 'live' };
      return { ...start, outcome: 'failed', ...(isManagerError(end.error) && { errorCode: end.error.code }) };
    }),
  );
  diagnostics.subscribe('clientStopped', (stop) => publish('matrix-client-manager:client.stop', () => ({ ...stop })));
  diagnostics.subscribe('sync', (sync, { outcome }, processingMs) => {
    if (outcome === 'failed') return;
    publish('matrix-client-manager:sync', () => {
      const { waitMs: durationMs, ...rest } = sync;
      return { ...rest, durationMs, processingMs };
    });
  });
  diagnostics.subscribe('callback', ({ event, attempt }, { outcome }, durationMs) =>
    publish('matrix-client-manager:callback', () => {
      const { userId, type, provenance } = event;
      const room = event.roomId !== undefined && { roomId: event.roomId };
      const id = 'eventId' in event && { eventId: event.eventId };
      const result = outcome === 'ok' ? 'handled' : 'failed';
      return { userId, ...room, ...id, type, provenance, attempt, outcome: result, durationMs };
    }),
  );
  diagnostics.subscribe('request', ({ template, ...request }) =>
    publish('matrix-client-manager:request', () => {
      const endpoint = endpoints.labelOf({ path: request.path, template });
      return { ...request, endpoint, durationMs: request.durationMs ?? 0 };
    }),
  );
  diagnostics.subscribe('checkpoint', ({ userId }, { outcome }, durationMs) =>
    publish('matrix-client-manager:checkpoint', () => {
      return { userId, outcome: outcome === 'ok' ? 'stored' : 'failed', durationMs };
    }),
  );
  diagnostics.subscribe('gap', (gap) => publish('matrix-client-manager:gap', () => ({ ...gap })));
  diagnostics.subscribe('send', (send, end, durationMs) =>
    publish('matrix-client-manager:send', () => {
      if (end.outcome === 'ok') return { ...send, outcome: 'sent', durationMs };
      return { ...send, outcome: 'failed', durationMs, errorCode: errorType(end.error) };
    }),
  );
}

/** Publishes the result of `message` if the channel has subscribers. */
function publish<Name extends DiagnosticsChannelName>(name: Name, message: () => DiagnosticsMessages[Name]): void {
  const found = channels.get(name);
  if (found?.hasSubscribers) found.publish(message());
}
