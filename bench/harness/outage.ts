import type { FakeHomeserver, LoggedRequest } from 'matrix-client-manager/testing';
import { PerSecond } from './per-second.ts';

/** How the homeserver is out: it answers 503 to everything, or its port is closed. */
export type Outage = '503' | 'closed port';

export interface OutageReport {
  /** Requests received in each second of the outage; none where the port was closed. */
  readonly perSecond: readonly number[];
  /** For each user who synced again, how long after the end of the outage their sync was answered, in milliseconds. */
  readonly backAfterMs: readonly number[];
}

export type OutageServices = {
  readonly fail: (outage: Outage) => Promise<void>;
  /** Ends the outage; resolves when `clients` users sync again, or two minutes later. */
  readonly recover: (clients: number) => Promise<OutageReport>;
};

/** How long it is waited for everybody to come back. */
export const MAX_RECOVERY_MS = 120_000;

/** Takes a fake homeserver down and up again, and sees who asks meanwhile and who is back when. */
export class OutageWatch {
  readonly #fake: FakeHomeserver;
  readonly #port: number;
  readonly #backAfterMs = new Map<string, number>();
  #perSecond = new PerSecond();
  #duringOutage: readonly number[] = [];
  #outage: Outage | undefined;
  #syncs = 0;
  #endFault = (): void => {};
  /** By the process's own clock; undefined until the outage is over. */
  #endedAt: number | undefined;
  /** Syncs that have no answer yet. */
  #outstanding: LoggedRequest[] = [];

  constructor(fake: FakeHomeserver) {
    this.#fake = fake;
    this.#port = Number(new URL(fake.baseUrl).port);
  }

  get back(): number {
    return this.#backAfterMs.size;
  }

  get overdue(): boolean {
    return performance.now() - (this.#endedAt ?? 0) > MAX_RECOVERY_MS;
  }

  async fail(outage: Outage): Promise<void> {
    this.look();
    this.#outage = outage;
    this.#perSecond = new PerSecond();
    this.#endedAt = undefined;
    this.#outstanding = [];
    this.#backAfterMs.clear();
    if (outage === 'closed port') return this.#fake.close();
    this.#endFault = this.#fake.faults.status({}, { status: 503 });
    this.#fake.restart(); // nobody hangs on in a long poll
  }

  async recover(): Promise<void> {
    this.look();
    this.#duringOutage = this.#perSecond.counts;
    if (this.#outage === 'closed port') await this.#fake.listen({ port: this.#port });
    this.#endFault();
    this.#endedAt = performance.now();
  }

  report(): OutageReport {
    return { perSecond: this.#duringOutage, backAfterMs: [...this.#backAfterMs.values()] };
  }

  /** Counts the requests that have come, notes who has synced, and forgets the rest. @returns syncs begun until now */
  look(): number {
    const { requests } = this.#fake;
    this.#perSecond.count(requests.length);
    const syncs = requests.filter(({ endpoint }) => endpoint === '/sync');
    this.#syncs += syncs.length;
    if (this.#outage !== undefined) this.#outstanding.push(...syncs);
    this.#fake.clearRequests();
    const afterMs = this.#endedAt === undefined ? undefined : performance.now() - this.#endedAt;
    this.#outstanding = this.#outstanding.filter(({ status, userId }) => {
      if (status === undefined) return true;
      if (status === 200 && userId !== undefined && afterMs !== undefined && !this.#backAfterMs.has(userId)) {
        this.#backAfterMs.set(userId, afterMs);
      }
      return false;
    });
    return this.#syncs;
  }
}
