import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';
import type { World } from '../../../src/testing/contracts/homeserver/world.js';
import { ClientProcess } from './client-process.js';
import type { SeenEvent } from './client-process.js';

const script = fileURLToPath(new URL('own-process.ts', import.meta.url));

/** A user of our own manager, in a process that can be killed and started again on what it has stored. */
export class OwnUser {
  readonly userId: string;
  readonly events: SeenEvent[] = [];
  deviceId = '';
  readonly #world: World;
  readonly #store: string;
  #process: ClientProcess | undefined;

  private constructor(world: World, folder: string) {
    this.userId = world.userId(world.newUsername());
    this.#world = world;
    this.#store = mkdtempSync(join(folder, 'own-'));
  }

  static async start(world: World, folder: string): Promise<OwnUser> {
    const user = new OwnUser(world, folder);
    onTestFinished(() => user.kill());
    await user.start();
    return user;
  }

  get #running(): ClientProcess {
    if (!this.#process) throw new Error(`${this.userId} is not running`);
    return this.#process;
  }

  async start(): Promise<void> {
    const { baseUrl, admin } = this.#world.target;
    const life = new ClientProcess([process.execPath, '--no-warnings', '--import', 'tsx', script]);
    this.#process = life;
    const { userId, accessToken } = admin;
    const open = { homeserver: baseUrl, admin: { userId, accessToken }, userId: this.userId, store: this.#store };
    this.deviceId = (await life.call<{ deviceId: string }>('open', open)).deviceId;
  }

  /** Ends the process as a crash would; `start` brings the device back. */
  async kill(): Promise<void> {
    await this.#process?.kill();
    this.events.push(...(this.#process?.events ?? []));
    this.#process = undefined;
  }

  /** The file of its keys, which another process may open after a kill. */
  get keysPath(): string {
    return join(this.#store, 'keys.sqlite');
  }

  /** Makes its next message in the room start a Megolm session. */
  rotate(roomId: string): Promise<unknown> {
    return this.#running.call('rotate', { roomId });
  }

  async createRoom(guest: { readonly userId: string; join(roomId: string): Promise<void> }): Promise<string> {
    const { roomId } = await this.#running.call<{ roomId: string }>('createRoom', { invite: guest.userId });
    await guest.join(roomId);
    await this.#running.call('untilJoined', { roomId, memberId: guest.userId });
    return roomId;
  }

  async say(roomId: string, text: string): Promise<string> {
    return (await this.#running.call<{ eventId: string }>('say', { roomId, text })).eventId;
  }

  /** Resolves with the event once a callback has got it. */
  received(eventId: string): Promise<SeenEvent> {
    return this.#running.first((event) => event.eventId === eventId);
  }

  /** The texts of the messages in this life, in order; the reason where one could not be decrypted. */
  bodies(roomId: string): unknown[] {
    const messages = this.#running.events.filter((event) => event.roomId === roomId && event.type === 'm.room.message');
    return messages.map(({ content, failure }) => failure ?? content?.['body']);
  }
}
