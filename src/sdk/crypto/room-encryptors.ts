import type { MatrixEvent, Room } from 'matrix-js-sdk';
import type { EncryptedRooms } from '../../encryption/encrypted-rooms.js';
import {
  DEFAULT_ROTATION,
  encryptionContent,
  isStricter,
  mergeEncryption,
  readRoomEncryption,
  readRotation,
  strictest,
} from '../../encryption/room-encryption.js';
import type { RoomEncryption, Rotation } from '../../encryption/room-encryption.js';
import type { EventContent } from '../../core/raw-event.js';
import type { CryptoBackend } from './crypto-backend.js';

/**
 * Makes the encryptors of the SDK, one for each encrypted room. By itself the SDK makes none for a room whose settings
 * differ from those that the crypto library has stored, which accepts no other ones, nor for a room whose
 * `m.room.encryption` event is redacted, or hidden by the homeserver.
 *
 * An encryptor gets the strictest settings that were ever seen in the room, and keeps them whatever comes later.
 */
export class RoomEncryptors {
  readonly #crypto: CryptoBackend;
  readonly #rooms: EncryptedRooms;
  readonly #takeEvent: CryptoBackend['onCryptoEvent'];
  readonly #isStored: CryptoBackend['isEncryptionEnabledInRoom'];
  /** The settings that the crypto library has stored, by room. */
  readonly #stored = new Map<string, Rotation>();

  /** Replaces the parts of the SDK that handle the encryption of rooms. */
  constructor(crypto: CryptoBackend, rooms: EncryptedRooms) {
    this.#crypto = crypto;
    this.#rooms = rooms;
    this.#takeEvent = crypto.onCryptoEvent.bind(crypto);
    this.#isStored = crypto.isEncryptionEnabledInRoom.bind(crypto);
    const encryptEvent = crypto.encryptEvent.bind(crypto);
    Object.assign(crypto, {
      // A rejection would end the sync of the room. The next send tries again, and gets the error.
      onCryptoEvent: (room: Room, event: MatrixEvent) => this.#take(room, event.getContent()).catch(() => {}),
      isEncryptionEnabledInRoom: async (roomId: string) => (await this.hasSettings(roomId)) || rooms.has(roomId),
      encryptEvent: async (event: MatrixEvent, room: Room) => {
        await this.open(room);
        await encryptEvent(event, room);
      },
    });
    this.#keepStoredSettings();
  }

  /** Whether the crypto library has settings of the room. */
  hasSettings(roomId: string): Promise<boolean> {
    return this.#isStored(roomId);
  }

  /**
   * Makes the encryptor of a room that is known to be encrypted, if it has none.
   * @returns why there is still none, or undefined
   */
  async open(room: Room): Promise<string | undefined> {
    if (this.#encryptor(room)) return undefined;
    const event = room.currentState.getStateEvents('m.room.encryption', '');
    const { unsupported } = await this.#take(room, event?.getContent() ?? {});
    if (this.#encryptor(room)) return undefined;
    if (unsupported === undefined) return "the crypto library did not accept the room's settings";
    return `the room uses the algorithm ${JSON.stringify(unsupported)}, which is not supported`;
  }

  #encryptor({ roomId }: Pick<Room, 'roomId'>): { encryptionSettings?: unknown } | undefined {
    return this.#crypto.roomEncryptors[roomId];
  }

  async #take(room: Room, content: EventContent): Promise<RoomEncryption> {
    const { roomId } = room;
    const seen = readRoomEncryption(content);
    this.#rooms.remember(roomId, seen);
    // While the storage fails, there are the settings of this event and of the crypto library.
    const remembered = await this.#rooms.get(roomId).catch(() => undefined);
    const encryption = mergeEncryption(remembered, seen);
    const before = this.#encryptor(room)?.encryptionSettings;
    if (!encryption.rotation) {
      if (before !== undefined) return encryption; // the event was redacted: the encryptor keeps its settings
      if (encryption.unsupported !== undefined && !(await this.#isStored(roomId))) return encryption;
    }
    const config = encryptionContent(encryption.rotation ?? DEFAULT_ROTATION);
    const encryptor = this.#encryptor(room);
    if (encryptor) encryptor.encryptionSettings = config; // the SDK throws on a difference
    await this.#takeEvent(room, { getContent: () => config } as MatrixEvent);
    await this.#applySettings(room, encryption, before);
    return encryption;
  }

  /** @param before - the settings that the room's encryptor had; undefined if there was none */
  async #applySettings(room: Room, { rotation }: RoomEncryption, before: unknown): Promise<void> {
    const { roomId } = room;
    const encryptor = this.#encryptor(room);
    if (!encryptor) return; // the SDK has logged why
    const stored = this.#stored.get(roomId);
    const effective = strictest(rotation, stored) ?? DEFAULT_ROTATION;
    encryptor.encryptionSettings = encryptionContent(effective);
    this.#rooms.remember(roomId, { rotation: effective });
    // The crypto library rotates a session by the settings with which the session began. Before a start these may have been
    // the stored ones.
    const began = before === undefined ? stored : readRoomEncryption(before as EventContent).rotation;
    if (began && isStricter(effective, began)) await this.#crypto.forceDiscardSession(roomId);
  }

  /**
   * The crypto library refuses settings that differ from those it has stored, and the SDK then makes no encryptor. So it gets
   * the first ones only.
   */
  #keepStoredSettings(): void {
    const { olmMachine } = this.#crypto;
    const set = olmMachine.setRoomSettings.bind(olmMachine);
    olmMachine.setRoomSettings = async (roomId, settings) => {
      const stored = await olmMachine.getRoomSettings(roomId);
      if (!stored) return set(roomId, settings);
      const { sessionRotationPeriodMs: periodMs, sessionRotationPeriodMessages: messages } = stored;
      stored.free();
      this.#stored.set(roomId.toString(), readRotation({ periodMs, messages }));
    };
  }
}
