import { appendFileSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** The text of messages from before the first start, which are delivered to nobody. */
export const BEFORE_START = 'old';

/** What was delivered and what was accepted, in files, so that it does not weigh in the heap that is measured. */
export class Ledger {
  readonly historyFile: string;
  readonly #deliveries: string;
  readonly #sends: string;

  constructor(folder: string) {
    this.#deliveries = join(folder, 'deliveries');
    this.#sends = join(folder, 'sends');
    this.historyFile = join(folder, 'history');
    for (const file of [this.#deliveries, this.#sends, this.historyFile]) appendFileSync(file, '');
  }

  /** A callback of the user has finished with a message. */
  delivered(user: number, room: number, eventId: string): void {
    appendFileSync(this.#deliveries, `${user}/${room} ${eventId}\n`);
  }

  /** A send has resolved. */
  sent(room: number, eventId: string): void {
    appendFileSync(this.#sends, `${room} ${eventId}\n`);
  }

  /** Compares with the homeserver's own history. @param members - of each room, as indices of users */
  check(members: readonly (readonly number[])[]): { deliveries: number; sends: number; violations: string[] } {
    const violations: string[] = [];
    const history = group(this.historyFile);
    const deliveries = group(this.#deliveries);
    const sends = group(this.#sends);
    for (const [room, users] of members.entries()) {
      const lines = history.get(String(room)) ?? [];
      const expected = lines
        .filter((line) => !line.endsWith(` ${BEFORE_START}`))
        .map((line) => line.split(' ', 1)[0] ?? '');
      violations.push(...outOfOrder(room, lines));
      const posted = new Set(expected);
      const lost = (sends.get(String(room)) ?? []).filter((eventId) => !posted.has(eventId));
      if (lost.length > 0) violations.push(`room ${room}: ${lost.length} accepted sends are not there`);
      for (const user of users) {
        const violation = difference(expected, deliveries.get(`${user}/${room}`) ?? []);
        if (violation !== undefined) violations.push(`user ${user} in room ${room}: ${violation}`);
      }
    }
    return { deliveries: size(deliveries), sends: size(sends), violations };
  }
}

/** Whether every message that was posted was also delivered once, in order; what is wrong otherwise. */
function difference(expected: readonly string[], got: readonly string[]): string | undefined {
  const known = new Set(got);
  const missing = expected.filter((eventId) => !known.has(eventId));
  if (missing.length > 0) return `${missing.length} of ${expected.length} missing, the first is ${missing[0]}`;
  if (known.size < got.length) return `${got.length - known.size} delivered more than once`;
  const at = got.findIndex((eventId, index) => eventId !== expected[index]);
  return at === -1 ? undefined : `out of order from number ${at} of ${expected.length} on`;
}

/** Each sender numbers what they send to a room durably: `<n> durable`. */
function outOfOrder(room: number, lines: readonly string[]): string[] {
  const last = new Map<string, number>();
  const violations: string[] = [];
  for (const line of lines) {
    const [, sender = '', number = '', kind] = line.split(' ');
    if (kind !== 'durable') continue;
    if (Number(number) !== (last.get(sender) ?? -1) + 1) {
      violations.push(`room ${room}: ${sender} posted ${number} after ${last.get(sender)}`);
    }
    last.set(sender, Number(number));
  }
  return violations;
}

/** The lines of a file by their first word. */
function group(file: string): Map<string, string[]> {
  const groups = new Map<string, string[]>();
  for (const line of readFileSync(file, 'utf8').split('\n')) {
    const space = line.indexOf(' ');
    if (space === -1) continue;
    const key = line.slice(0, space);
    const rest = line.slice(space + 1);
    const group = groups.get(key);
    if (group) group.push(rest);
    else groups.set(key, [rest]);
  }
  return groups;
}

function size(groups: ReadonlyMap<string, readonly string[]>): number {
  let total = 0;
  for (const group of groups.values()) total += group.length;
  return total;
}
