import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { inject, onTestFinished } from 'vitest';
import type { ForeignClientName } from '../../../scripts/interop/foreign-clients.js';
import type { World } from '../../../src/testing/contracts/homeserver/world.js';
import { ClientProcess } from './client-process.js';
import type { SeenEvent } from './client-process.js';

interface Account {
  readonly userId: string;
  readonly password: string;
}

/** A user on a device of a foreign client, which keeps its keys in a folder and can be killed and started again. */
export class ForeignUser {
  readonly userId: string;
  readonly password: string;
  deviceId = '';
  readonly #name: ForeignClientName;
  readonly #world: World;
  readonly #store: string;
  #process: ClientProcess | undefined;
  readonly #earlier: SeenEvent[] = [];

  private constructor(name: ForeignClientName, world: World, { userId, password }: Account, folder: string) {
    this.userId = userId;
    this.password = password;
    this.#name = name;
    this.#world = world;
    this.#store = mkdtempSync(join(folder, 'foreign-'));
  }

  /** Logs a user in, a new one unless `account` says which. */
  static async logIn(name: ForeignClientName, world: World, folder: string, account?: Account): Promise<ForeignUser> {
    const user = new ForeignUser(name, world, account ?? (await newAccount(world)), folder);
    onTestFinished(() => user.kill());
    await user.start();
    return user;
  }

  get #running(): ClientProcess {
    if (!this.#process) throw new Error(`${this.userId} is not running`);
    return this.#process;
  }

  /** What this device has seen, in all its lives. */
  get events(): readonly SeenEvent[] {
    return [...this.#earlier, ...(this.#process?.events ?? [])];
  }

  async start(): Promise<void> {
    const installed = inject('foreignClients')[this.#name];
    if (!installed || !('command' in installed)) throw new Error(`${this.#name} is not installed`);
    this.#process = new ClientProcess(installed.command);
    const { deviceId } = await this.#process.call<{ deviceId: string }>('open', {
      homeserver: this.#world.target.baseUrl,
      userId: this.userId,
      password: this.password,
      store: this.#store,
    });
    this.deviceId = deviceId;
  }

  /** Ends the process as a crash would; `start` brings the device back. */
  async kill(): Promise<void> {
    await this.#process?.kill();
    this.#earlier.push(...(this.#process?.events ?? []));
    this.#process = undefined;
  }

  call<T>(command: string, args: object = {}): Promise<T> {
    return this.#running.call(command, args);
  }

  join(roomId: string): Promise<void> {
    return this.call('join', { roomId });
  }

  async send(roomId: string, content: object, type = 'm.room.message'): Promise<string> {
    return (await this.call<{ eventId: string }>('send', { roomId, type, content })).eventId;
  }

  say(roomId: string, body: string): Promise<string> {
    return this.send(roomId, { msgtype: 'm.text', body });
  }

  /** Resolves with the first event in this life that `matches`, past or to come. */
  first(matches: (event: SeenEvent) => boolean): Promise<SeenEvent> {
    return this.#running.first(matches);
  }

  /** Resolves with the event once this device has read it. */
  readEvent(eventId: string): Promise<SeenEvent> {
    return this.first((event) => event.eventId === eventId && event.content !== undefined);
  }

  /** Resolves with the event once this device has failed to read it. */
  failedEvent(eventId: string): Promise<SeenEvent> {
    return this.first((event) => event.eventId === eventId && event.failure !== undefined);
  }

  /** The texts of the messages that it has read so far, in order. */
  bodies(roomId: string): unknown[] {
    const messages = this.events.filter((event) => event.roomId === roomId && event.type === 'm.room.message');
    return messages.filter(({ content }) => content !== undefined).map(({ content }) => content?.['body']);
  }
}

/** A new account, without a device. */
export async function newAccount(world: World): Promise<Account> {
  const { userId, password, http } = await world.newUser();
  await http.post('/_matrix/client/v3/logout');
  return { userId, password };
}
