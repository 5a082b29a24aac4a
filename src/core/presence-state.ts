/** `online`, `unavailable` (there, but inactive) or `offline`. */
export type PresenceState = 'online' | 'unavailable' | 'offline';

export const presenceStates = ['online', 'unavailable', 'offline'] as const satisfies readonly PresenceState[];

/** A state of a later specification is that of somebody who is there, but not free. */
export function toPresenceState(text: string): PresenceState {
  return presenceStates.find((state) => state === text) ?? 'unavailable';
}
