import type { MatrixClient } from 'matrix-js-sdk';
import { abortedError, orAborted, orTimeout } from '../../core/abort.js';
import type { Context } from '../../core/context.js';
import type { CryptoBackend } from './crypto-backend.js';
import { queryKeys } from './verification.js';
import type { AskedVerification } from './verification-messages.js';
import { deviceIdClass } from './wasm-classes.js';
import { wasmUserId } from './wasm-user-id.js';

export interface AskingDevicesOptions {
  readonly matrixClient: MatrixClient;
  readonly crypto: CryptoBackend;
  /** Aborted when calls of the SDK may no longer settle. */
  readonly ended: AbortSignal;
}

/** How long a sync, or the events of a verification in a room, wait for the keys of those who ask, in milliseconds. */
const KEYS_TIMEOUT_MS = 5_000;
/** How long all syncs of one period wait: a stranger can ask in every sync, from a homeserver that does not answer. */
const WAIT_BUDGET_MS = 15_000;
const BUDGET_PERIOD_MS = 600_000;
const OPERATION = 'fetching the keys of devices';

/** Fetches the keys of devices that ask for a verification: the crypto library ignores unknown devices. Never rejects. */
export class AskingDevices {
  readonly #context: Pick<Context, 'clock' | 'logger'>;
  readonly #options: AskingDevicesOptions;
  #waitedMs = 0;
  /** When `#waitedMs` began, in milliseconds since the Unix epoch. */
  #waitedSince = -Infinity;

  constructor(context: Pick<Context, 'clock' | 'logger'>, options: AskingDevicesOptions) {
    this.#context = context;
    this.#options = options;
  }

  /**
   * Fetches the keys of all unknown devices at the same time, within five seconds in all. After calls for unknown devices
   * have taken fifteen seconds in ten minutes, no more keys are fetched for such a call: the devices stay unknown.
   * @param always - whether to fetch the keys of known devices too
   * @returns the requests whose devices are known
   */
  async load(requests: readonly AskedVerification[], always = false): Promise<ReadonlySet<AskedVerification>> {
    const known = new Set<AskedVerification>();
    const load = async (asked: AskedVerification): Promise<void> => {
      if (await this.#isKnown(asked)) known.add(asked);
      if (known.has(asked) && !always) return;
      await this.#query(asked.otherUserId);
      if (await this.#isKnown(asked)) known.add(asked);
      else known.delete(asked); // the device was deleted
    };
    if (requests.length === 0) return known;
    if (always) await this.#inTime(requests.map(load));
    else await this.#inBudget(requests, known, load);
    return new Set(known); // a later response changes nothing
  }

  async #inBudget(
    requests: readonly AskedVerification[],
    known: Set<AskedVerification>,
    load: (asked: AskedVerification) => Promise<void>,
  ): Promise<void> {
    const { clock } = this.#context;
    const begunAt = clock.now();
    if (begunAt - this.#waitedSince >= BUDGET_PERIOD_MS) {
      this.#waitedSince = begunAt;
      this.#waitedMs = 0;
    }
    if (this.#waitedMs < WAIT_BUDGET_MS) {
      await this.#inTime(requests.map(load));
      this.#waitedMs += clock.now() - begunAt;
      return;
    }
    const look = async (asked: AskedVerification): Promise<void> => {
      if (await this.#isKnown(asked)) known.add(asked);
    };
    await this.#inTime(requests.map(look));
  }

  /** Fetches a user's keys, for at most five seconds. */
  async query(userId: string): Promise<void> {
    await this.#inTime([this.#query(userId)]);
  }

  async #inTime(work: readonly Promise<unknown>[]): Promise<void> {
    const { userId, clock, logger } = { userId: this.#options.matrixClient.getUserId(), ...this.#context };
    const settled = Promise.allSettled(work);
    const inTime = orTimeout(settled, clock, KEYS_TIMEOUT_MS, () => abortedError(OPERATION));
    await orAborted(inTime, this.#options.ended, OPERATION).catch((err: unknown) => {
      logger.debug({ userId, err }, 'the keys of devices that ask for a verification did not come in time');
    });
  }

  async #query(otherUserId: string): Promise<void> {
    const { matrixClient } = this.#options;
    const crypto = matrixClient.getCrypto();
    if (!crypto) return;
    await queryKeys(crypto, otherUserId).catch((err: unknown) => {
      const userId = matrixClient.getUserId();
      this.#context.logger.debug({ userId, otherUserId, err }, 'fetching the keys of a device failed');
    });
  }

  /** Reads what is stored. The SDK's public interface does not, of a user without a room in common. */
  async #isKnown({ otherUserId, otherDeviceId }: AskedVerification): Promise<boolean> {
    const { olmMachine } = this.#options.crypto;
    const userId = wasmUserId({ olmMachine }, otherUserId);
    if (!userId) return false;
    const deviceId = new (deviceIdClass(olmMachine))(otherDeviceId);
    try {
      const device = await olmMachine.getDevice(userId, deviceId);
      device?.free(); // otherwise it keeps the client in memory
      return device !== undefined;
    } finally {
      for (const id of [userId, deviceId]) id.free();
    }
  }
}
