import { setTimeout as sleep } from 'node:timers/promises';
import type { Device } from './device.js';
import type { Sealed } from './sealed-history.js';
import { asViolations } from './violation.js';
import type { Violation } from './violation.js';

/** How a message is delivered whose key does not come in time. */
export const KEY_IS_LATE = 'missing-key';
/** For what no busy machine explains: no message more for so long, or no key. */
const PATIENCE_MS = 120_000;

/**
 * Has a device read the whole room, until it can read all of it or `patienceMs` have passed: keys may still be on their
 * way, and a device with an identity asks the backup for those that it lacks.
 */
export async function unreadBy(
  device: Device,
  sent: readonly Sealed[],
  patienceMs = PATIENCE_MS,
): Promise<Violation[]> {
  for (const deadline = Date.now() + patienceMs; ; await sleep(500)) {
    const { messages } = await device.ask('history', 'history');
    const read = new Map(messages.map(({ eventId, decryption }) => [eventId, decryption]));
    const unread = sent.filter(({ event_id: id }) => read.get(id) !== 'decrypted');
    if (unread.length > 0 && Date.now() < deadline) continue;
    device.bodies.push(...messages);
    const texts = unread.map(({ event_id: id }) => `${device.name} cannot read ${id} in the end: ${read.get(id)}`);
    return asViolations('undecryptable', texts);
  }
}

/** Waits until the devices were told of all messages, or are told of no further one. */
export async function untilDelivered(devices: readonly Device[], sent: readonly Sealed[]): Promise<void> {
  const missing = (): number =>
    devices.reduce((sum, { got }) => sum + sent.filter(({ event_id: id }) => !got.has(id)).length, 0);
  let [before, deadline] = [missing(), Date.now() + PATIENCE_MS];
  while (before > 0 && Date.now() < deadline) {
    await sleep(50);
    const now = missing();
    if (now < before) deadline = Date.now() + PATIENCE_MS;
    before = now;
  }
}

export function deliveryViolations({ name, got, lives, replaced }: Device, sent: readonly Sealed[]): Violation[] {
  const missing = sent.filter(({ event_id: id }) => !got.has(id)).map(({ event_id: id }) => `${name} misses ${id}`);
  const failed = [...got].filter(([, results]) => results.some((one) => one !== 'decrypted' && one !== KEY_IS_LATE));
  const identities = new Set(lives.map(({ deviceId, ed25519 }) => `${deviceId} ${ed25519}`));
  return [
    ...asViolations('identity', [
      ...(identities.size === 1 ? [] : [`${name} had ${identities.size} identities`]),
      ...replaced.map((code) => `${name} was replaced: ${code}`),
    ]),
    ...asViolations(
      'undecryptable',
      failed.map(([id, results]) => `${name} could not read ${id}: ${results.join(', ')}`),
    ),
    ...asViolations('missing', missing),
  ];
}

/** Everybody must have read the same. */
export function differingTexts(devices: readonly Device[]): Violation[] {
  const texts = new Map<string, unknown>();
  return devices.flatMap(({ name, bodies }) =>
    bodies.flatMap(({ eventId, body }) => {
      if (typeof body !== 'string') return []; // not read: told elsewhere
      const known = texts.get(eventId) ?? body;
      texts.set(eventId, known);
      const text = `${name} has read something else in ${eventId} than others`;
      return known === body ? [] : asViolations('different text', [text]);
    }),
  );
}
