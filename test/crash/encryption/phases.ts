import type { Activity } from './worker-protocol.js';

/** What a kill fell into. Several at once: a client sends while it receives. */
export type Phase =
  | 'loading'
  | 'login'
  | 'first keys'
  | 'identity set-up'
  | 'restore'
  | 'resume'
  | 'send'
  | 'rotation'
  | 'receive'
  | 'backup upload'
  | 'nothing';

const names: Readonly<Record<Exclude<Activity, 'start'>, Phase>> = {
  provision: 'login',
  'set-up': 'identity set-up',
  restore: 'restore',
  upload: 'backup upload',
  send: 'send',
  rotate: 'rotation',
  receive: 'receive',
};

/** @param doing - what the process has told that it had begun, and not that it had ended */
export function phasesOf(
  doing: readonly Activity[],
  { wasLive, hasBegun }: { readonly wasLive: boolean; readonly hasBegun: boolean },
): Phase[] {
  if (!hasBegun) return ['loading'];
  if (doing.length === 0) return ['nothing'];
  const start: Phase = wasLive ? 'resume' : 'first keys';
  return [...new Set(doing.map((activity) => (activity === 'start' ? start : names[activity])))];
}

/** How many kills fell into each phase, most first. */
export function countPhases(phases: readonly Phase[]): Readonly<Partial<Record<Phase, number>>> {
  const counts = Map.groupBy(phases, (phase) => phase);
  const entries = [...counts].map(([phase, all]) => [phase, all.length] as const);
  return Object.fromEntries(entries.toSorted(([, a], [, b]) => b - a));
}
