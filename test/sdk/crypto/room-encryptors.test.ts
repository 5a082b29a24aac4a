import type { MatrixEvent, Room } from 'matrix-js-sdk';
import { describe, expect, it } from 'vitest';
import { EncryptedRooms } from '../../../src/encryption/encrypted-rooms.js';
import type { CryptoBackend } from '../../../src/sdk/crypto/crypto-backend.js';
import { RoomEncryptors } from '../../../src/sdk/crypto/room-encryptors.js';
import { memoryStorage } from '../../../src/storage/memory-storage.js';
import type { Storage } from '../../../src/storage/storage.js';
import { testContext } from '../../support/context.js';

const roomId = '!room:hs.test';
const algorithm = 'm.megolm.v1.aes-sha2';
const content = (messages?: number) => ({
  algorithm,
  ...(messages !== undefined && { rotation_period_msgs: messages }),
});
const settings = (messages: number) => ({ algorithm, rotation_period_ms: 604_800_000, rotation_period_msgs: messages });

interface Stored {
  sessionRotationPeriodMs: number | undefined;
  sessionRotationPeriodMessages: number | undefined;
}

/** The SDK's RustCrypto, as far as it handles the encryption of rooms. `stored` is what its crypto library has stored. */
function setUp({
  storage = memoryStorage(),
  stored,
  event,
}: { storage?: Storage; stored?: Stored; event?: object } = {}) {
  const library = { stored, fails: false };
  const log: string[] = [];
  const roomEncryptors: Record<string, { encryptionSettings?: unknown }> = {};
  const crypto = {
    roomEncryptors,
    olmMachine: {
      getRoomSettings: async () => library.stored && { ...library.stored, free: () => {} },
      setRoomSettings: async (_room: object, given: Stored) => {
        if (library.fails || library.stored) throw new Error('downgrade');
        library.stored = given;
      },
    },
    isEncryptionEnabledInRoom: async () => library.stored !== undefined,
    encryptEvent: async () => void log.push('encrypted'),
    forceDiscardSession: async () => void log.push('discarded'),
    onCryptoEvent: async (room: Room, event: MatrixEvent) => {
      const config = event.getContent<ReturnType<typeof settings>>();
      try {
        await crypto.olmMachine.setRoomSettings(room.roomId as unknown as object, {
          sessionRotationPeriodMs: config.rotation_period_ms,
          sessionRotationPeriodMessages: config.rotation_period_msgs,
        });
      } catch {
        return;
      }
      const existing = roomEncryptors[roomId];
      if (!existing) roomEncryptors[roomId] = { encryptionSettings: config };
      else if (JSON.stringify(existing.encryptionSettings) !== JSON.stringify(config)) throw new Error('reconfigured');
    },
  };
  const rooms = new EncryptedRooms(testContext({}), storage);
  const encryptors = new RoomEncryptors(crypto as unknown as CryptoBackend, rooms);
  const getStateEvents = () => (event ? { getContent: () => event } : null);
  const room = { roomId, currentState: { getStateEvents } } as unknown as Room;
  const take = (given: object) => crypto.onCryptoEvent(room, { getContent: () => given } as MatrixEvent);
  const current = () => roomEncryptors[roomId]?.encryptionSettings;
  return { crypto, encryptors, library, log, room, rooms, take, current };
}

describe('the encryptor of a room', () => {
  it('has the settings of the event, and the library stores them', async () => {
    const { take, current, library, log } = setUp();
    await take(content(50));
    expect(current()).toEqual(settings(50));
    expect(library.stored).toMatchObject({ sessionRotationPeriodMessages: 50 });
    expect(log).toEqual([]);
  });

  it('becomes stricter with a later event, with a new session, and never weaker', async () => {
    const { take, current, log } = setUp();
    await take(content(50));
    await take(content(20));
    expect([current(), log]).toEqual([settings(20), ['discarded']]);
    for (const later of [content(900), content(), {}, { algorithm: 'm.other' }, { ...content(20), further: 'key' }]) {
      await take(later);
      expect([current(), log]).toEqual([settings(20), ['discarded']]);
    }
  });

  it('begins a new session after a start, if the library has stored weaker settings', async () => {
    const stored = { sessionRotationPeriodMs: undefined, sessionRotationPeriodMessages: 90 };
    const { take, current, log } = setUp({ stored });
    await take(content(20));
    expect([current(), log]).toEqual([settings(20), ['discarded']]);
  });

  it('keeps what the library has stored, where nothing else is known', async () => {
    const stored = { sessionRotationPeriodMs: undefined, sessionRotationPeriodMessages: 7 };
    for (const event of [{}, { algorithm: 'm.other' }, content(900)]) {
      const { take, current, log } = setUp({ stored });
      await take(event);
      expect([current(), log]).toEqual([settings(7), []]);
    }
  });

  it('is made for a message, if the homeserver hides the event or shows a redacted one', async () => {
    for (const event of [undefined, {}]) {
      const { crypto, room, rooms, current, log } = setUp({ ...(event && { event }) });
      rooms.note([[roomId, content(30)]]);
      await (crypto as unknown as CryptoBackend).encryptEvent({} as MatrixEvent, room);
      expect([current(), log]).toEqual([settings(30), ['encrypted']]);
    }
  });

  it('has the settings of the event while the storage fails', async () => {
    const fail = () => Promise.reject(new Error('disk full'));
    const storage = { getEncryptedRooms: fail, setEncryptedRooms: fail } as unknown as Storage;
    const { take, current } = setUp({ storage });
    await take(content(50));
    expect(current()).toEqual(settings(50));
  });

  it('is not made for an unknown algorithm, nor if the library refuses the settings, and the reason is told', async () => {
    const unknown = setUp({ event: { algorithm: 'm.other' } });
    await unknown.take({ algorithm: 'm.other' });
    expect(await unknown.encryptors.open(unknown.room)).toContain('"m.other", which is not supported');
    const refused = setUp({ event: content(5) });
    refused.library.fails = true;
    await refused.take(content(5));
    expect(await refused.encryptors.open(refused.room)).toContain('did not accept');
    refused.library.fails = false;
    expect(await refused.encryptors.open(refused.room)).toBe(undefined);
    expect(refused.current()).toEqual(settings(5));
  });
});

it('the SDK encrypts in rooms that any user has seen encrypted', async () => {
  const { crypto, encryptors, rooms } = setUp();
  const isEncrypted = () => (crypto as unknown as CryptoBackend).isEncryptionEnabledInRoom(roomId);
  expect(await isEncrypted()).toBe(false);
  rooms.note([[roomId, {}]]);
  expect(await isEncrypted()).toBe(true);
  expect(await encryptors.hasSettings(roomId)).toBe(false);
});
