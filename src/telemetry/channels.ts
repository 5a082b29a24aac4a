import { channel } from 'node:diagnostics_channel';
import type { ClientEventType, Provenance } from '../core/client-event.js';
import type { RequestResult, SyncKind } from '../core/telemetry.js';

/**
 * What the channels of node:diagnostics_channel carry, by name. Messages are published after the fact, and made only
 * while somebody listens. They name users, rooms and events, since they stay in the process; none holds a token or
 * the content of an event. Durations are in milliseconds.
 */
export interface DiagnosticsMessages {
  /** A start has ended. */
  'matrix-client-manager:client.start': {
    readonly userId: string;
    readonly outcome: 'live' | 'failed';
    /** Whether it began where the user had been. */
    readonly resumed: boolean;
    readonly durationMs: number;
    /** The error's code, when it failed. */
    readonly errorCode?: string;
  };
  /** Nothing of a client is left. */
  'matrix-client-manager:client.stop': {
    readonly userId: string;
    /** As in the event `clientStopped` of the manager. */
    readonly reason: string;
  };
  /** A sync was answered, and what it brought is with the callbacks. */
  'matrix-client-manager:sync': {
    readonly userId: string;
    readonly kind: SyncKind;
    /** Until the answer, in milliseconds; the homeserver's waiting for events is included. */
    readonly durationMs: number;
    readonly processingMs: number;
    readonly rooms: number;
    readonly events: number;
  };
  /** A callback was called. */
  'matrix-client-manager:callback': {
    readonly userId: string;
    readonly roomId: string;
    /** Absent for what has none: typing, invitations. */
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
    /** As sent, with its ids and without its query. */
    readonly path: string;
    readonly status: number | undefined;
    readonly result: RequestResult;
    readonly durationMs: number;
  };
  /** A position was stored, or could not be. */
  'matrix-client-manager:checkpoint': {
    readonly userId: string;
    readonly outcome: 'stored' | 'failed';
    readonly durationMs: number;
  };
  /** A gap in a timeline was filled, as far as that goes. */
  'matrix-client-manager:gap': {
    readonly userId: string;
    readonly roomId: string;
    /** How many events were fetched. */
    readonly events: number;
    /** Whether nothing is missing now. */
    readonly complete: boolean;
    readonly durationMs: number;
  };
  /** A message was sent, or could not be. */
  'matrix-client-manager:send': {
    readonly userId: string;
    readonly roomId: string;
    readonly outcome: 'sent' | 'failed';
    readonly durationMs: number;
    readonly errorCode?: string;
  };
}

export type DiagnosticsChannelName = keyof DiagnosticsMessages;

/** The channels' names. */
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

/** Held here, since Node lets go of a channel that nobody holds. */
const channels = new Map(diagnosticsChannels.map((name) => [name, channel(name)]));

/** Publishes what `message` makes, when somebody listens. What a listener throws, Node reports as an uncaught exception. */
export function publish<Name extends DiagnosticsChannelName>(
  name: Name,
  message: () => DiagnosticsMessages[Name],
): void {
  const found = channels.get(name);
  if (found?.hasSubscribers) found.publish(message());
}
