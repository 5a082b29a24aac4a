import type { MatrixEvent } from 'matrix-js-sdk';
import type { VerificationRequest } from '../../../../src/index.js';
import type { VerificationRequested } from '../../../../src/encryption/verification-options.js';
import type { RoomVerificationEvent } from '../../../../src/sdk/crypto/verification-messages.js';
import { VerificationRequests } from '../../../../src/sdk/crypto/verification-requests.js';
import { ManualClock } from '../../../../src/testing/manual-clock.js';
import { MemoryLogger } from '../../../../src/testing/memory-logger.js';

export const bob = '@bob:x';
export const alice = '@alice:x';
export const roomId = '!room:x';

interface ToDevice {
  readonly type: string;
  readonly sender: string;
  readonly content: { readonly transaction_id: string };
}

/** A request in the crypto library. */
function libraryRequest() {
  const state = { isCancelled: false, isDone: false, emoji: [] as { symbol: string; description: string }[] };
  const sas = {
    accept: () => undefined,
    cancelWithCode: () => void (state.isCancelled = true),
    isCancelled: () => state.isCancelled,
    cancelInfo: () => undefined,
    isDone: () => state.isDone,
    canBePresented: () => false,
    emoji: () => (state.emoji.length > 0 ? state.emoji.map((one) => ({ ...one, free() {} })) : undefined),
    free() {},
  };
  const request = {
    acceptWithMethods: () => undefined,
    cancel: () => void (state.isCancelled = true),
    cancelInfo: undefined,
    isCancelled: () => state.isCancelled,
    isDone: () => state.isDone,
    isPassive: () => false,
    isReady: () => false,
    getVerification: () => sas,
    free() {},
  };
  return { state, request };
}

/** Bob's client, as far as verifications see it. Its crypto library takes any request of a device whose keys it knows. */
export function verificationLibrary({ handles = true } = {}) {
  const clock = new ManualClock(1_000_000_000);
  const ended = new AbortController();
  const requests: VerificationRequest[] = [];
  const asked: VerificationRequested[] = [];
  const sent: { path: string; body: Record<string, unknown> }[] = [];
  /** What the crypto library has received: messages to devices, and events of rooms. */
  const received: unknown[] = [];
  const flows = new Map<string, ReturnType<typeof libraryRequest>>();
  const devices = new Map<string, Set<string>>([[bob, new Set(['BOT'])]]);
  /** Devices of Bob that are signed. */
  const signed = new Set<string>();
  const queries: string[] = [];
  const keys: { answer: (userId: string) => Promise<void> } = { answer: async () => {} };
  const decrypted: { message: object; encryptionInfo: object | null }[] = [];
  class Id {
    readonly #id: string;
    constructor(id: string) {
      this.#id = id;
    }
    toString(): string {
      return this.#id;
    }
    free(): void {}
  }
  const begin = (sender: string, flowId: string): void => void flows.set(`${sender} ${flowId}`, libraryRequest());
  const crypto = {
    olmMachine: {
      userId: new Id(bob),
      deviceId: new Id('BOT'),
      getDevice: async (user: Id, device: Id) =>
        devices.get(user.toString())?.has(device.toString()) ? { free() {} } : undefined,
      queryKeysForUsers: ([user]: Id[]) => ({ users: String(user) }),
      markRequestAsSent: async () => true,
      getVerificationRequest: (user: Id, flowId: string) => flows.get(`${user.toString()} ${flowId}`)?.request,
      getVerification: () => undefined,
    },
    outgoingRequestProcessor: {
      makeOutgoingRequest: async ({ users }: { users: string }) => {
        queries.push(users);
        await keys.answer(users);
      },
      requestWithRetry: async (_method: string, path: string, _query: object, body: string) => {
        sent.push({ path, body: JSON.parse(body) as Record<string, unknown> });
        return '{}';
      },
    },
    async processSyncChanges({ toDeviceEvents }: { toDeviceEvents: readonly ToDevice[] }) {
      for (const { type, sender, content } of toDeviceEvents) {
        received.push(content.transaction_id);
        if (type === 'm.key.verification.request') begin(sender, content.transaction_id);
      }
      return decrypted.splice(0);
    },
    onLiveEventFromSync: async (_event: MatrixEvent) => {},
    onIncomingKeyVerificationRequest() {},
    /** As the SDK does it. */
    async onKeyVerificationEvent(event: MatrixEvent) {
      const [sender, id] = [event.getSender() ?? '', event.getId() ?? ''];
      if (event.getType() === 'm.room.message') {
        await this.outgoingRequestProcessor.makeOutgoingRequest({ users: sender });
        begin(sender, id);
      }
      received.push(id);
    },
    getUserDeviceInfo: async () => new Map([[bob, new Map([...signed].map((id) => [id, {}]))]]),
    getDeviceVerificationStatus: async () => ({ signedByOwner: true }),
  };
  const matrixClient = {
    getSafeUserId: () => bob,
    getUserId: () => bob,
    getDeviceId: () => 'BOT',
    getCrypto: () => crypto,
    listenerCount: () => 0,
  };
  const verifications = new VerificationRequests({ clock, logger: new MemoryLogger() }, {
    matrixClient,
    run: (_name: string, call: () => Promise<unknown>) => call(),
    ended: ended.signal,
    onRequest: handles ? (request: VerificationRequest) => void requests.push(request) : undefined,
    onRequested: (event: VerificationRequested) => void asked.push(event),
  } as never);
  const sync = (...toDeviceEvents: object[]) => crypto.processSyncChanges({ toDeviceEvents: toDeviceEvents as never });
  const toDevice = (sender: string, transaction_id: string, from_device = 'A', more: object = {}) => {
    const flow = { from_device, transaction_id, timestamp: clock.now(), methods: ['m.sas.v1'] };
    return { type: 'm.key.verification.request', sender, content: { ...flow, ...more } };
  };
  const inRoom = (event: Partial<RoomVerificationEvent> & { eventId: string }, room = roomId): void =>
    verifications.receiveInRoom(room, {
      sender: alice,
      timestamp: clock.now(),
      isEcho: false,
      ...ask,
      ...event,
    });
  const ask = { type: 'm.room.message', content: { to: bob, from_device: 'A', methods: ['m.sas.v1'] } };
  /** An event of Bob, of this device or of another one, in Alice's verification. */
  const answer = (type: string, flowId: string, from_device: string | undefined, isEcho = false): void => {
    const content = {
      'm.relates_to': { rel_type: 'm.reference', event_id: flowId },
      ...(from_device && { from_device }),
    };
    inRoom({ eventId: `$answer${nextId()}`, type: `m.key.verification.${type}`, sender: bob, content, isEcho });
  };
  let last = 0;
  const nextId = (): number => ++last;
  const know = (userId: string, deviceId = 'A'): void => void devices.set(userId, new Set([deviceId]));
  const all = { clock, ended, requests, asked, sent, received, flows, signed, queries, keys, decrypted, crypto };
  return { ...all, verifications, begin, sync, toDevice, inRoom, answer, know };
}

/** Lets promises settle that wait for nothing else. */
export async function settle(): Promise<void> {
  for (let n = 0; n < 5; n++) await new Promise((resolve) => setImmediate(resolve));
}
