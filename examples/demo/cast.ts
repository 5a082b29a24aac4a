import type { MatrixClientManager } from 'matrix-client-manager';
import type { Homeserver } from '../homeserver.js';
import { Inbox } from './inbox.js';
import { say } from './narrate.js';

/** One of the demo's users. */
export interface Player {
  readonly name: string;
  readonly userId: string;
  readonly inbox: Inbox;
}

/** The demo's users, whose accounts are deactivated at the end. */
export class Cast implements AsyncDisposable {
  readonly #manager: MatrixClientManager;
  readonly #homeserver: Homeserver;
  readonly #players: Player[] = [];

  constructor(manager: MatrixClientManager, homeserver: Homeserver) {
    this.#manager = manager;
    this.#homeserver = homeserver;
  }

  async provision(name: string): Promise<Player> {
    const username = this.#homeserver.username(`demo-${name.toLowerCase()}`);
    const account = await this.#manager.provisionUser({ username, displayName: name });
    const player = { name, userId: account.userId, inbox: new Inbox(name) };
    this.#players.push(player);
    say(`${name} is ${account.userId} on device ${account.deviceId}${account.created ? ', a new account' : ''}`);
    return player;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { userId } of this.#players) {
      await this.#manager.stopClient(userId);
      await this.#manager.admin.deactivateUser(userId);
    }
  }
}
